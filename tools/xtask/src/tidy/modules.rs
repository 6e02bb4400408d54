// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which module may name which; where unsafe code is forbidden; files that no module names.
//!
//! Cargo keeps the order between crates; this keeps the order between the modules of one.

use super::files::Source;
use super::{Finding, code_of};
use std::collections::BTreeSet;

/// Below `under`, but not below `except`, no code says one of `words`, because of `reason`.
struct Ban {
    under: &'static str,
    except: &'static [&'static str],
    words: &'static [&'static str],
    reason: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        under: "transport/src/protocol/",
        except: &[],
        words: &[
            "std::net",
            "std::fs",
            "std::thread",
            "Instant",
            "SystemTime",
            "lane::shm",
            "lane::tcp",
        ],
        reason: "the protocol does no I/O and reads no clock",
    },
    Ban {
        under: "transport/src/wire/",
        except: &[],
        words: &["std::net", "std::fs", "crate::lane", "crate::worker", "crate::protocol"],
        reason: "wire knows bytes and headers only",
    },
    Ban {
        under: "transport/src/lane/",
        except: &[],
        words: &["crate::worker", "crate::protocol::matching"],
        reason: "a lane moves frames; matching and the worker are above it",
    },
    Ban {
        under: "transport/src/",
        // Shared words live in few places; lane/shm is written against `sync::Word`, which loom
        // can own, and hands it the atomics of mapped memory. So is share, whose cells lie there.
        except: &[
            "transport/src/sync.rs",
            "transport/src/sync/",
            "transport/src/node/",
            "transport/src/bootstrap/",
            "transport/src/lane/shm/",
            "transport/src/protocol/share.rs",
            "transport/src/wait.rs",
            "transport/src/wait/",
        ],
        words: &["std::sync::atomic", "core::sync::atomic"],
        reason: "atomics belong to sync, wait, the node's memory and its lane",
    },
    Ban {
        under: "collectives/src/",
        except: &["collectives/src/execute/", "collectives/src/execute.rs"],
        words: &["strait_transport"],
        reason: "only execute moves bytes; schedules are pure",
    },
    Ban {
        under: "transport/src/",
        except: &[],
        words: &["MPI_", "strait_collectives", "strait_mpi"],
        reason: "transport knows peers and tags, not MPI",
    },
];

pub fn imports(source: &Source) -> Vec<Finding> {
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| applies(ban, &source.path)).collect();
    if bans.is_empty() || !source.is_rust() || source.is_test() {
        return Vec::new();
    }
    let code = before_tests(&code_of(source)).to_string();
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for ban in &bans {
            if let Some(word) = ban.words.iter().find(|word| says(line, word)) {
                let text = format!("`{word}` does not belong here: {}", ban.reason);
                findings.push(source.finding("imports", index + 1, text));
            }
        }
    }
    findings
}

fn applies(ban: &Ban, path: &str) -> bool {
    path.starts_with(ban.under) && !ban.except.iter().any(|except| path.starts_with(except))
}

/// Does the line say the word, not as the tail of another word?
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The code above the tests, which come last in a file and may do what they like.
pub fn before_tests(code: &str) -> &str {
    match code.find("#[cfg(test)]\nmod ") {
        Some(at) => &code[..at],
        None => code,
    }
}

/// Modules that hold no unsafe code, by name of their directory or file.
const SAFE: &[&str] = &[
    "transport/src/protocol",
    "transport/src/wire",
    "transport/src/config",
    "collectives/src/schedule",
    "collectives/src/algorithm",
    "collectives/src/verify",
    "collectives/src/simulate",
    "collectives/src/select",
];

/// The root file of each safe module says `#![forbid(unsafe_code)]`.
pub fn forbids(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for module in SAFE {
        let roots = [format!("{module}/mod.rs"), format!("{module}.rs")];
        for root in sources.iter().filter(|source| roots.contains(&source.path)) {
            if !root.text.contains("#![forbid(unsafe_code)]") {
                let text = "the module must open with #![forbid(unsafe_code)]".to_string();
                findings.push(root.finding("forbid-unsafe", 1, text));
            }
        }
    }
    findings
}

/// Rust files below a `src` directory that no other file declares as a module.
pub fn dead(sources: &[Source]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && s.path.contains("/src/")) {
        let (dir, file) = source.path.rsplit_once('/').expect("a path below src");
        let stem = file.trim_end_matches(".rs");
        if matches!(stem, "lib" | "main") || dir.ends_with("/bin") || file == "build.rs" {
            continue;
        }
        let (dir, stem) =
            if stem == "mod" { dir.rsplit_once('/').expect("below src") } else { (dir, stem) };
        let parents = [
            format!("{dir}/mod.rs"),
            format!("{dir}/lib.rs"),
            format!("{dir}/main.rs"),
            format!("{dir}.rs"),
        ];
        let declares = |parent: &Source| {
            parent.text.contains(&format!("mod {stem};"))
                || parent.text.contains(&format!("\"{stem}.rs\""))
        };
        let known = parents.iter().filter(|parent| paths.contains(parent.as_str()));
        let mut known = known.filter_map(|parent| sources.iter().find(|s| s.path == *parent));
        if !known.any(declares) {
            let text = "no module declares this file: it is never compiled".to_string();
            findings.push(source.finding("dead-file", 1, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_clock_in_the_protocol_is_found_but_not_in_its_tests() {
        let text = "use std::time::Instant;\n#[cfg(test)]\nmod tests {\n    use std::net;\n}\n";
        let found = imports(&source("transport/src/protocol/eager.rs", text));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 1);
        assert!(imports(&source("transport/src/lane/tcp/poll.rs", text)).is_empty());
    }

    #[test]
    fn a_file_without_a_declaration_is_dead() {
        let files = [
            source("a/src/lib.rs", "mod one;\nmod two;\n"),
            source("a/src/one.rs", ""),
            source("a/src/two/mod.rs", "pub mod deep;\n"),
            source("a/src/two/deep.rs", ""),
            source("a/src/two/lost.rs", ""),
        ];
        let found = dead(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a/src/two/lost.rs");
    }
}
