//! Every piece of every token that was used, to search for where no piece may be.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A run of so many characters of a token is a leak.
pub const PIECE: usize = 16;

/// All pieces of the tokens added so far.
#[derive(Default)]
pub struct TokenPieces {
    pieces: HashSet<[u8; PIECE]>,
    // Which pairs of first bytes occur at all: nearly every place in a file is settled by one look here.
    beginnings: HashSet<[u8; 2]>,
}

impl TokenPieces {
    /// No pieces yet.
    pub fn new() -> TokenPieces {
        TokenPieces::default()
    }

    /// The pieces of one token.
    pub fn of(token: &[u8]) -> TokenPieces {
        let mut pieces = TokenPieces::new();
        pieces.add(token);
        pieces
    }

    /// Adds the pieces of a token.
    pub fn add(&mut self, token: &[u8]) {
        for window in token.windows(PIECE) {
            let piece: [u8; PIECE] = window.try_into().expect("a window has its length");
            self.pieces.insert(piece);
            self.beginnings.insert([piece[0], piece[1]]);
        }
    }

    /// How many different pieces there are.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The place of the first piece in `bytes`.
    pub fn place_in(&self, bytes: &[u8]) -> Option<usize> {
        let mut table = vec![false; 1 << 16];
        for [first, second] in &self.beginnings {
            table[usize::from(*first) << 8 | usize::from(*second)] = true;
        }
        bytes.windows(PIECE).position(|window| {
            table[usize::from(window[0]) << 8 | usize::from(window[1])] && self.pieces.contains(window)
        })
    }

    /// All files below `directory` that hold a piece.
    pub fn files_with_pieces(&self, directory: &Path) -> Vec<PathBuf> {
        files_below(directory)
            .into_iter()
            .filter(|file| std::fs::read(file).is_ok_and(|bytes| self.place_in(&bytes).is_some()))
            .collect()
    }
}

/// All regular files below a directory.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        // A server at work removes files and directories as we go.
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_and_a_shorter_one_is_not() {
        let pieces = TokenPieces::of(b"abcdefghijklmnopqrstuvwxyz");
        assert_eq!(pieces.place_in(b"...defghijklmnopqrs..."), Some(3));
        assert_eq!(pieces.place_in(b"...defghijklmnopqr..."), None);
        assert_eq!(pieces.count(), 11);
    }
}
