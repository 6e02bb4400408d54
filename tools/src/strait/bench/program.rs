// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which programs there are, and which words each takes.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// What is measured when nobody says what.
const DEFAULT: &[&str] = &["osu_latency", "osu_bw", "osu_mbw_mr"];

/// Programs without message sizes: they take no `-m`.
const WITHOUT_SIZES: &[&str] = &["osu_barrier", "osu_ibarrier", "osu_barrier_persistent"];

/// Programs that only start: they take neither sizes nor iterations.
const STARTUP: &[&str] = &["osu_init", STARTS_ONLY];

/// A program without figures of its own: what is told is the time from its command to its end.
pub const STARTS_ONLY: &str = "osu_hello";

/// A directory with programs.
#[derive(Clone, Debug)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The programs in this directory.
    pub fn at(directory: impl Into<PathBuf>) -> Programs {
        Programs { directory: directory.into() }
    }

    /// The names of all that are there, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with("osu_") && !name.contains('.'))
            .filter(|name| self.file(name).is_file())
            .collect();
        names.sort();
        names
    }

    /// Where a program is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The full names of what was asked for; `osu_` may be left out.
    ///
    /// # Errors
    /// A name that is not there, with what is.
    pub fn choose(&self, asked: &[String]) -> Result<Vec<String>, String> {
        let there = self.names();
        if there.is_empty() {
            let place = self.directory.display();
            return Err(format!(
                "there are no programs osu_* in {place}: name their directory \
                 with --programs"
            ));
        }
        if asked.is_empty() {
            let default = DEFAULT.iter().map(|name| (*name).to_owned());
            let chosen: Vec<String> = default.filter(|name| there.contains(name)).collect();
            return Ok(if chosen.is_empty() { there } else { chosen });
        }
        let mut chosen: Vec<String> = Vec::new();
        for name in asked {
            let full = format!("osu_{name}");
            let found = there.iter().find(|known| *known == name || **known == full);
            let found = found.ok_or_else(|| unknown(name, &full, &there))?;
            if !chosen.contains(found) {
                chosen.push(found.clone());
            }
        }
        Ok(chosen)
    }
}

fn unknown(name: &str, full: &str, there: &[String]) -> String {
    let far = |known: &&String| {
        strsim::damerau_levenshtein(name, known).min(strsim::damerau_levenshtein(full, known))
    };
    let near = there.iter().min_by_key(far).filter(|known| far(known) <= 2);
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", there.join(", ")),
    };
    format!("no benchmark '{name}': {hint}")
}

/// How much to measure.
#[derive(Clone, Debug, Default)]
pub struct Amount {
    /// `MIN:MAX`, as the programs take it.
    pub sizes: Option<String>,
    pub quick: bool,
    /// Further words, which win.
    pub words: Vec<String>,
}

impl Amount {
    /// The words for a program.
    pub fn words(&self, name: &str) -> Vec<String> {
        let mut words = Vec::new();
        let sizes = self.sizes.as_deref().or(self.quick.then_some("1:65536"));
        let starts = STARTUP.contains(&name);
        if let Some(sizes) = sizes.filter(|_| !starts && !WITHOUT_SIZES.contains(&name)) {
            words.extend(["-m".to_owned(), sizes.to_owned()]);
        }
        if self.quick && !starts {
            // Few enough for a look, many enough that the clock's own 30 ns do not matter.
            words.extend(["-i", "200", "-x", "20"].map(str::to_owned));
        }
        words.extend(self.words.iter().cloned());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str, programs: &[&str]) -> Programs {
        let root =
            std::env::temp_dir().join(format!("strait-programs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        programs.iter().for_each(|program| std::fs::write(root.join(program), "").unwrap());
        Programs::at(root)
    }

    fn choose(programs: &Programs, names: &[&str]) -> Result<Vec<String>, String> {
        programs.choose(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_may_be_short() {
        let programs = directory("some", &["osu_latency", "osu_bw", "osu_bcast", "osu_bw.d", "x"]);
        assert_eq!(programs.names(), ["osu_bcast", "osu_bw", "osu_latency"]);
        assert_eq!(
            choose(&programs, &["bw", "osu_bcast", "osu_bw"]).unwrap(),
            ["osu_bw", "osu_bcast"]
        );
        assert_eq!(choose(&programs, &[]).unwrap(), ["osu_latency", "osu_bw"]);
        assert!(choose(&programs, &["latncy"]).unwrap_err().contains("did you mean osu_latency?"));
        assert!(choose(&programs, &["zzzzzzz"]).unwrap_err().contains("osu_bcast, osu_bw"));
        let none = directory("none", &["x"]);
        assert!(choose(&none, &[]).unwrap_err().contains("--programs"));
    }

    #[test]
    fn words_for_programs() {
        let amount = Amount { sizes: Some("8:8".into()), quick: true, words: vec!["-c".into()] };
        assert_eq!(amount.words("osu_bw"), ["-m", "8:8", "-i", "200", "-x", "20", "-c"]);
        assert_eq!(amount.words("osu_barrier")[0], "-i");
        assert_eq!(amount.words("osu_init"), ["-c"]);
        assert!(Amount::default().words("osu_bw").is_empty());
        assert_eq!(Amount { quick: true, ..Amount::default() }.words("osu_bw")[1], "1:65536");
    }
}
