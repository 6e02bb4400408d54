// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two ways to write the same requests: PMI-1's lines of `key=value` words, PMI-2's messages of
//! `key=value;` with six digits of length before them, where a semicolon in a value is doubled.
#![forbid(unsafe_code)]

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    One,
    Two,
}

/// Longest message of PMI-2.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// Its `cmd`.
    pub command: String,
    pairs: Vec<(String, String)>,
    /// It was said before the dialect was settled: its answer is a line.
    is_first: bool,
}

impl Request {
    /// What it says of this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn new(pairs: Vec<(String, String)>) -> Option<Request> {
        let mut request = Request { pairs, ..Request::default() };
        request.command = request.value("cmd")?.to_owned();
        Some(request)
    }
}

/// Takes the next request out of what has come; `None`: it is not whole yet. The first one, which
/// is always a line, settles the dialect.
///
/// # Errors
/// It is none.
pub fn next(dialect: &mut Option<Dialect>, bytes: &mut Vec<u8>) -> Result<Option<Request>, ()> {
    match dialect {
        None => {
            let Some(line) = take_line(bytes)? else { return Ok(None) };
            let mut request = Request::new(words(&line)).ok_or(())?;
            let version = request.value("pmi_version");
            *dialect = Some(match (request.command.as_str(), version) {
                ("init", Some("1")) => Dialect::One,
                ("init", Some("2")) => Dialect::Two,
                _ => return Err(()),
            });
            request.is_first = true;
            Ok(Some(request))
        }
        Some(Dialect::One) => next_line(bytes),
        Some(Dialect::Two) => next_message(bytes),
    }
}

fn take_line(bytes: &mut Vec<u8>) -> Result<Option<String>, ()> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line: Vec<u8> = bytes.drain(..=end).collect();
    String::from_utf8(line).map(|line| Some(line.trim_end().to_owned())).map_err(drop)
}

/// The words of a line; those without `=` count for nothing.
fn words(line: &str) -> Vec<(String, String)> {
    let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    line.split_ascii_whitespace().filter_map(pair).collect()
}

fn next_line(bytes: &mut Vec<u8>) -> Result<Option<Request>, ()> {
    // A request of many lines begins with `mcmd=` and ends with `endcmd`.
    if bytes.starts_with(b"mcmd=") {
        let end = b"endcmd\n";
        let Some(at) = bytes.windows(end.len()).position(|window| window == end) else {
            return Ok(None);
        };
        let text: Vec<u8> = bytes.drain(..at + end.len()).collect();
        let text = String::from_utf8(text).map_err(drop)?;
        let command = text.lines().next().and_then(|line| line.strip_prefix("mcmd="));
        let command = command.ok_or(())?.trim().to_owned();
        return Ok(Some(Request { command, ..Request::default() }));
    }
    let Some(line) = take_line(bytes)? else { return Ok(None) };
    Request::new(words(&line)).map(Some).ok_or(())
}

fn next_message(bytes: &mut Vec<u8>) -> Result<Option<Request>, ()> {
    let Some(digits) = bytes.get(..6) else { return Ok(None) };
    let digits = std::str::from_utf8(digits).map_err(drop)?;
    let length: usize = digits.trim().parse().map_err(drop)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(());
    }
    if bytes.len() < 6 + length {
        return Ok(None);
    }
    let text: Vec<u8> = bytes.drain(..6 + length).skip(6).collect();
    let text = String::from_utf8(text).map_err(drop)?;
    Request::new(fields(&text)).map(Some).ok_or(())
}

/// The fields of a message: each ends with one semicolon, two stand for one.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut field = String::new();
    let mut letters = text.trim_end_matches('\n').chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != ';' {
            field.push(letter);
        } else if letters.next_if_eq(&';').is_some() {
            field.push(';');
        } else if let Some((key, value)) = std::mem::take(&mut field).split_once('=') {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    if let Some((key, value)) = field.split_once('=') {
        pairs.push((key.to_owned(), value.to_owned()));
    }
    pairs
}

/// An answer, as it travels. A thread's number in a request comes back in its answer.
pub fn encode(dialect: Dialect, request: &Request, name: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
    if dialect == Dialect::One || request.is_first {
        let words: Vec<String> =
            pairs.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        return format!("cmd={name}{}\n", words.concat()).into_bytes();
    }
    let thread = request.value("thrid").map(|number| ("thrid", number));
    let fields: Vec<String> = thread
        .iter()
        .chain(pairs)
        .map(|(key, value)| format!("{key}={};", value.replace(';', ";;")))
        .collect();
    let text = format!("cmd={name};{}", fields.concat());
    format!("{:6}{text}", text.len()).into_bytes()
}
