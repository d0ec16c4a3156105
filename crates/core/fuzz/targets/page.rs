//! A page of Graph of any bytes: whatever is accepted names ids that stand there, and a link of bounded length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgaad_provider::graph::Page;

fuzz_target!(|bytes: &[u8]| {
    let Ok(page) = Page::read(bytes) else { return };
    let text = std::str::from_utf8(bytes).expect("JSON is UTF-8").to_lowercase();
    for member in &page.members {
        // Spelt with escapes, an id does not stand there as it is.
        assert!(text.contains(&member.to_string()) || text.contains('\\'));
    }
    assert!(page.members.len() <= bytes.len() / 36);
    assert!(page.next.is_none_or(|link| link.len() <= 16 * 1024));
});
