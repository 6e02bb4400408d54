// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `-configfile`: a file with a program in each line, and what stands before and behind it on a
//! command line. Lines are what `:` is between programs.
//!
//! Words are separated as a shell does it, with quotes and backslashes, and nothing else of a
//! shell: no variables, no patterns. `#` begins a comment, a backslash at the end continues a line.
#![forbid(unsafe_code)]

use super::failure::Failure;
use super::parse::reason;
use std::ffi::OsString;

/// The words of a file, a `:` between its lines.
///
/// # Errors
/// It cannot be read, a quote is not closed, or it has no word.
pub fn words(spelled: &str, path: &str) -> Result<Vec<OsString>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("{spelled}: cannot read '{path}': {}", reason(&error)))
    })?;
    let lines = split(&text)
        .map_err(|line| Failure::usage(format!("{spelled} {path}, line {line}: an open quote")))?;
    if lines.is_empty() {
        return Err(Failure::usage(format!("{spelled}: no program in '{path}'"))
            .help("each line is what a program has on a command line: -n 2 ./one arguments"));
    }
    Ok(lines.join(&OsString::from(":")))
}

/// The words of each line that has some; the error is the number of a line with an open quote.
fn split(text: &str) -> Result<Vec<Vec<OsString>>, usize> {
    let (mut lines, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let (mut number, mut letters) = (1, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let begun = number;
                let into = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or(begun)? {
                        end if end == letter => break,
                        '\\' if letter == '"' => into.push(letters.next().ok_or(begun)?),
                        other => into.push(other),
                    }
                    number += usize::from(into.ends_with('\n'));
                }
            }
            '\\' => match letters.next() {
                Some('\n') => number += 1,
                Some(other) => word.get_or_insert_default().push(other),
                None => {}
            },
            '#' if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '\n' => {
                words.extend(word.take().map(OsString::from));
                lines.extend((!words.is_empty()).then(|| std::mem::take(&mut words)));
                number += 1;
            }
            space if space.is_whitespace() => words.extend(word.take().map(OsString::from)),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word.map(OsString::from));
    lines.extend((!words.is_empty()).then_some(words));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_programs() {
        let of = |text: &str| split(text).map(|lines| lines.join(&OsString::from(":")));
        let words = |list: &[&str]| Ok(list.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("-n 2 ./a x\n\n  # nothing\n-n 1 ./b\n"), {
            words(&["-n", "2", "./a", "x", ":", "-n", "1", "./b"])
        });
        assert_eq!(of("a \\\n  b # c\nd#e"), words(&["a", "b", ":", "d#e"]));
        assert_eq!(of(r#"a 'b c' "d \" e" f\ g """#), words(&["a", "b c", "d \" e", "f g", ""]));
        assert_eq!(of("a'b'\"c\"d"), words(&["abcd"]));
        assert_eq!(of("# only\n\n"), words(&[]));
        assert_eq!(of("a\nb 'c\nd"), Err(2));
        assert_eq!(of("'a\nb' c\n\"d"), Err(3));
    }
}
