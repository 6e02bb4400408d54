// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: the option letters of the OSU micro-benchmarks, with their defaults.
#![forbid(unsafe_code)]

/// Above this many bytes a message counts as large and gets fewer iterations.
const LARGE: usize = 8192;

/// How often to repeat: for small messages, and for large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    pub iterations: usize,
    pub skip: usize,
    pub iterations_large: usize,
    pub skip_large: usize,
}

impl Repeats {
    pub const LATENCY: Repeats =
        Repeats { iterations: 10_000, skip: 100, iterations_large: 1000, skip_large: 10 };
    pub const BANDWIDTH: Repeats =
        Repeats { iterations: 100, skip: 10, iterations_large: 20, skip_large: 2 };

    /// Iterations that count, and those before that warm up.
    pub fn of(&self, size: usize) -> (usize, usize) {
        if size > LARGE {
            (self.iterations_large, self.skip_large)
        } else {
            (self.iterations, self.skip)
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub smallest: usize,
    pub largest: usize,
    pub repeats: Repeats,
    pub window: usize,
    pub validate: bool,
    pub full: bool,
    pub many_buffers: bool,
}

/// What to do after reading the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    Run(Options),
    Help,
    Version,
}

/// Reads the arguments that follow the program's name.
pub fn parse<I>(args: I, repeats: Repeats) -> Result<Ask, String>
where
    I: IntoIterator<Item = String>,
{
    use lexopt::prelude::*;
    let mut options = Options {
        smallest: 1,
        largest: 4 << 20,
        repeats,
        window: 64,
        validate: false,
        full: false,
        many_buffers: false,
    };
    let mut words = lexopt::Parser::from_args(args);
    while let Some(word) = words.next().map_err(|e| e.to_string())? {
        match word {
            Short('h') | Long("help") => return Ok(Ask::Help),
            Short('v') | Long("version") => return Ok(Ask::Version),
            Short('m') | Long("message-size") => sizes(&value(&mut words)?, &mut options)?,
            Short('i') | Long("iterations") => {
                let count = number("-i", &value(&mut words)?)?.max(1);
                options.repeats.iterations = count;
                options.repeats.iterations_large = count;
            }
            Short('x') | Long("warmup") => {
                let count = number("-x", &value(&mut words)?)?;
                options.repeats.skip = count;
                options.repeats.skip_large = count;
            }
            Short('W') | Long("window-size") => {
                options.window = number("-W", &value(&mut words)?)?.max(1)
            }
            Short('c') | Long("validation") => options.validate = true,
            Short('f') | Long("full") => options.full = true,
            Short('b') | Long("buffer-num") => {
                options.many_buffers = match value(&mut words)?.as_str() {
                    "single" => false,
                    "multiple" => true,
                    other => return Err(format!("-b takes single or multiple, not '{other}'")),
                };
            }
            // Host memory on both sides is what there is; the words are accepted.
            Value(place) if place == "H" => {}
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Ask::Run(options))
}

fn value(words: &mut lexopt::Parser) -> Result<String, String> {
    let value = words.value().map_err(|e| e.to_string())?;
    value.into_string().map_err(|bad| format!("{} is not text", bad.display()))
}

/// `MAX`, `MIN:MAX` or `MIN:`.
fn sizes(text: &str, options: &mut Options) -> Result<(), String> {
    match text.split_once(':') {
        Some((smallest, largest)) => {
            if !smallest.is_empty() {
                options.smallest = number("-m", smallest)?;
            }
            if !largest.is_empty() {
                options.largest = number("-m", largest)?;
            }
        }
        None => options.largest = number("-m", text)?,
    }
    if options.smallest > options.largest {
        return Err(format!("-m {text}: the smallest size is above the largest"));
    }
    if options.largest > i32::MAX as usize {
        return Err(format!("-m {text}: a message has at most {} bytes", i32::MAX));
    }
    Ok(())
}

fn number(option: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{option} expects a number, got '{text}'"))
}

impl Options {
    /// The message sizes: powers of two between the two ends, from 0 if that is the smallest.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + use<> {
        let largest = self.largest;
        let next = |size: &usize| Some(if *size == 0 { 1 } else { size * 2 });
        std::iter::successors(Some(self.smallest), next).take_while(move |size| *size <= largest)
    }
}

/// What `-h` prints.
pub fn help(program: &str) -> String {
    format!(
        "Usage: mpiexec -n 2 {program} [options]\n\
         \x20 -m [MIN:]MAX   message sizes in bytes (1:4194304)\n\
         \x20 -i N           iterations for each size\n\
         \x20 -x N           iterations before, which warm up\n\
         \x20 -W N           messages in flight, bandwidth only (64)\n\
         \x20 -b KIND        single or multiple buffers, bandwidth only (single)\n\
         \x20 -c             check every byte; adds the column Validation\n\
         \x20 -f             add the columns Min, Max and Iterations\n\
         \x20 -h, -v         this text; the version"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Ask, String> {
        parse(line.split_whitespace().map(str::to_string), Repeats::LATENCY)
    }

    fn run(line: &str) -> Options {
        match parsed(line) {
            Ok(Ask::Run(options)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_that_scripts_know() {
        let options = run("");
        assert_eq!(options.sizes().count(), 23);
        assert_eq!(options.repeats.of(8192), (10_000, 100));
        assert_eq!(options.repeats.of(8193), (1000, 10));
        assert_eq!(options.window, 64);
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(run("-m 0:4").sizes().collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert_eq!(run("-m 8").sizes().collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(run("-m 3:10").sizes().collect::<Vec<_>>(), [3, 6]);
        assert!(parsed("-m 9:4").is_err());
        assert!(parsed("-m x").is_err());
    }

    #[test]
    fn repeats_hold_for_every_size() {
        let options = run("-i 7 -x 3 -c -W 8");
        assert_eq!(options.repeats.of(1), (7, 3));
        assert_eq!(options.repeats.of(1 << 20), (7, 3));
        assert!(options.validate);
        assert_eq!(options.window, 8);
        assert!(parsed("-q").is_err());
        assert_eq!(parsed("-h"), Ok(Ask::Help));
    }
}
