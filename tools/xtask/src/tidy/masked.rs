// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Blanks comments, strings and characters of Rust text, so that rules see only code.
//!
//! Invariant: the answer has the same lines, and every line the same number of bytes.

/// Replaces the inside of comments, strings and character literals by spaces.
pub fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_end(bytes, at),
            b'r' | b'b' | b'c' | b'"' if !inside_word(bytes, at) => match string_end(bytes, at) {
                Some(end) => end,
                None => at + 1,
            },
            b'\'' => character_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are replaced by spaces")
}

fn inside_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at] != b'"'
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut here = at;
    while here < bytes.len() {
        if bytes[here..].starts_with(b"/*") {
            depth += 1;
            here += 2;
        } else if bytes[here..].starts_with(b"*/") {
            depth -= 1;
            here += 2;
            if depth == 0 {
                return here;
            }
        } else {
            here += 1;
        }
    }
    bytes.len()
}

/// The end of the string that starts here with its prefix, if one does.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let prefix = bytes[at..].iter().take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let raw = bytes[at..at + prefix].contains(&b'r');
    let hashes = bytes[at + prefix..].iter().take_while(|b| **b == b'#').count();
    let open = at + prefix + hashes;
    if bytes.get(open) != Some(&b'"') || (hashes > 0 && !raw) || prefix > 2 {
        return None;
    }
    let mut here = open + 1;
    while here < bytes.len() {
        match bytes[here] {
            b'\\' if !raw => here += 2,
            b'"' if bytes[here + 1..].iter().take_while(|b| **b == b'#').count() >= hashes => {
                return Some(here + 1 + hashes);
            }
            _ => here += 1,
        }
    }
    Some(bytes.len())
}

/// The end of the character literal here, or the next byte if this is a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..].iter().position(|b| *b == b'\'').map_or(at + 1, |n| at + 4 + n);
    }
    // One character of up to four bytes, then the closing mark.
    (2..=5)
        .find(|n| bytes.get(at + n) == Some(&b'\''))
        .filter(|n| *n == 2 || bytes[at + 1] >= 0x80)
        .map_or(at + 1, |n| at + n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stays_and_the_rest_goes() {
        let text =
            "let a = \"}\"; // {\nlet b = '{'; /* } /* } */ */ let c: &'a str = r#\"\"}\"#;\n";
        let blank = blank_comments_and_strings(text);
        assert_eq!(blank.len(), text.len());
        assert!(!blank.contains('{') && !blank.contains('}'));
        assert!(blank.contains("let a =") && blank.contains("let c: &'a str ="));
    }

    #[test]
    fn escapes_and_wide_characters_are_literals() {
        let blank = blank_comments_and_strings("x('\\'', '\\\\', 'é', '{', b'}', \"\\\"{\")");
        assert!(!blank.contains('{') && !blank.contains('}'));
        assert!(blank.ends_with(')'));
    }
}
