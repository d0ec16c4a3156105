//! The samples of a document: what stands between three backquotes.

/// A document, or the part of it below a heading.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    title: &'a str,
    text: &'a str,
}

impl<'a> Section<'a> {
    /// A whole document.
    pub fn whole(title: &'a str, text: &'a str) -> Self {
        Self { title, text }
    }

    /// The part below a heading, up to the next of the same level.
    ///
    /// # Panics
    /// When there is no such heading.
    pub fn of(document: &'a str, title: &'a str) -> Self {
        let heading = format!("\n## {title}\n");
        let start = document.find(&heading).unwrap_or_else(|| panic!("no section {title}")) + heading.len();
        let rest = &document[start..];
        Self { title, text: rest.find("\n## ").map_or(rest, |end| &rest[..end]) }
    }

    /// The samples in a language, in their order; those without a language for `""`.
    ///
    /// # Panics
    /// When a sample does not end.
    pub fn samples(&self, language: &str) -> Vec<&'a str> {
        let mut parts = self.text.split("\n```");
        let mut samples = Vec::new();
        while let (Some(_), Some(fenced)) = (parts.next(), parts.next()) {
            let (of, sample) = fenced.split_once('\n').unwrap_or_else(|| panic!("{}: no end", self.title));
            if of == language {
                samples.push(sample);
            }
        }
        samples
    }

    /// The only sample in a language.
    ///
    /// # Panics
    /// When there is none, or another.
    pub fn sample(&self, language: &str) -> &'a str {
        let samples = self.samples(language);
        let [sample] = samples.as_slice() else { panic!("{}: {} samples", self.title, samples.len()) };
        sample
    }
}
