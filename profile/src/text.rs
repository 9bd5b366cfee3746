//! Text that somebody else wrote, made fit to be shown.
//!
//! A board's name for its power mode, a model's name, a broker's reason: each may hold what a terminal obeys
//! (escape sequences, e.g. OSC 52, which writes the clipboard) or what turns the reading direction. Everything
//! that prints such text passes it through here. What is removed is shown as U+FFFD, so that it is seen.

use std::borrow::Cow;

/// Characters that are not shown but change what is shown around them.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, without hidden characters, at most `limit` characters long.
#[must_use]
pub fn clean(text: &str, limit: usize) -> String {
    let mut kept: String =
        text.chars().take(limit).map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        kept.pop();
        kept.push('\u{2026}');
    }
    kept
}

/// `text` without hidden characters other than line breaks and tabs: for whole pages of output.
#[must_use]
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t');
    if text.contains(is_obeyed) {
        Cow::Owned(text.replace(is_obeyed, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes the clipboard on terminals that know OSC 52.
    const OSC_52: &str = "\u{1b}]52;c;cm0gLXJmIH4K\u{7}";

    #[test]
    fn escape_sequences_and_direction_marks_do_not_survive() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n", 99), "a\u{fffd}[31mb\u{fffd}c\u{fffd}");
        assert_eq!(clean("\u{9b}31m", 99), "\u{fffd}31m");
        assert_eq!(clean(OSC_52, 99), "\u{fffd}]52;c;cm0gLXJmIH4K\u{fffd}");
        assert_eq!(
            clean_lines(&format!("a\tb\r\n{OSC_52}")),
            "a\tb\u{fffd}\n\u{fffd}]52;c;cm0gLXJmIH4K\u{fffd}"
        );
    }

    #[test]
    fn text_is_cut_at_its_limit() {
        assert_eq!(clean("abcdef", 4), "abc\u{2026}");
        assert_eq!(clean("abcd", 4), "abcd");
    }

    proptest! {
        #[test]
        fn nothing_hidden_comes_through(text in any::<String>()) {
            prop_assert!(!clean(&text, 1000).contains(is_hidden));
            prop_assert!(!clean_lines(&text).contains(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert!(matches!(clean_lines(&clean(&text, 1000)), Cow::Borrowed(_)));
        }
    }
}
