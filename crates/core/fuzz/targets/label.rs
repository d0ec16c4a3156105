//! Labels of any text: what is read is printed as a label that reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgaad_core::log_line::LogLine;
use pgaad_core::label::{InternalLabel, Label};

fuzz_target!(|text: &str| {
    match text.parse::<Label>() {
        Ok(label) => assert_eq!(label.to_string().parse(), Ok(label)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(internal) = text.parse::<InternalLabel>() {
        assert_eq!(internal.label.to_string().parse(), Ok(internal.label));
    }
    // The same text in a log line: one line, bounded, and no way out of the quotes.
    let line = LogLine::new("head").quoted("key", text).into_text();
    assert!(line.len() < 4096 && !line.contains(['\n', '\r', '\0']));
    let inside = line.strip_prefix("head key=\"").and_then(|rest| rest.strip_suffix('"')).expect("quoted");
    assert!(!inside.replace("\\\\", "").replace("\\\"", "").contains('"'));
});
