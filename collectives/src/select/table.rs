// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table: ordered rules, the first that fits serves. All ranks of a call must come to the same
//! answer, so a rule may only look at what all ranks know: never at the counts of an irregular
//! gather, scatter or alltoall.
//!
//! The shipped rules (default.toml) come from the model and from a few measurements. Rules of a
//! file of the user come before them, so every call finds an algorithm whatever the file says.
#![forbid(unsafe_code)]

use super::evidence::{Evidence, EvidenceForm, Measured};
use super::file::load_schedules;
use crate::algorithm::{ALL, Algorithm, Numbers, Parameters, by_name};
use crate::kind::Kind;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use toml::Spanned;

/// A chosen algorithm with its parameters, and the shape with the cut that it wants.
#[derive(Clone)]
pub struct Plan {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Its parameters.
    pub parameters: Parameters,
    /// The shape to build for.
    pub shape: Shape,
}

/// Where the ranks of a call are. Every rank knows without asking: who sees all others on its own
/// host knows that they see it so too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    /// All share the memory of one host.
    One,
    /// Some do not.
    Several,
}

impl Hosts {
    /// As the table writes it.
    pub fn name(self) -> &'static str {
        match self {
            Hosts::One => "one",
            Hosts::Several => "several",
        }
    }
}

/// What all ranks of a call know of it beside its shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// The whole vector, or one rank's block; 0 where the ranks do not know it.
    pub bytes: usize,
    /// Operands may change places.
    pub commutes: bool,
    /// Where they are.
    pub hosts: Hosts,
}

/// One row: if all conditions hold, this algorithm.
#[derive(Clone, Debug)]
pub struct Rule {
    /// For which collective.
    pub kind: Kind,
    /// From how many ranks on.
    pub ranks_min: u32,
    /// Up to how many ranks.
    pub ranks_max: u32,
    /// From how many bytes on (of the whole vector, or of one rank's block).
    pub bytes_min: usize,
    /// Up to how many bytes.
    pub bytes_max: usize,
    /// Only where the ranks are so.
    pub hosts: Option<Hosts>,
    /// Only for operations that commute, or only for those that do not.
    pub commutative: Option<bool>,
    /// What serves. An algorithm that does not fit the call is passed over.
    pub algorithm: &'static Algorithm,
    /// Its parameters.
    pub parameters: Parameters,
    /// In which file it is; `None`: the shipped one.
    pub file: Option<PathBuf>,
    /// The line of its algorithm there.
    pub line: usize,
}

/// Rules in their order.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Where and when it was measured, if it was.
    pub measured: Option<Measured>,
    /// What was measured.
    pub evidence: Vec<Evidence>,
}

/// Why a file is no table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct TableError {
    /// The file.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// The version of the form.
const VERSION: u32 = 1;

/// The most segments that a vector is cut into.
pub const SEGMENTS_MAX: u32 = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    version: Spanned<u32>,
    #[serde(default)]
    rule: Vec<RuleForm>,
    measured: Option<Measured>,
    #[serde(default)]
    evidence: Vec<EvidenceForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleForm {
    collective: Spanned<String>,
    #[serde(default = "one")]
    ranks_min: u32,
    #[serde(default = "all_ranks")]
    ranks_max: u32,
    #[serde(default)]
    bytes_min: usize,
    #[serde(default = "all_bytes")]
    bytes_max: usize,
    hosts: Option<Hosts>,
    commutative: Option<Spanned<bool>>,
    algorithm: Option<Spanned<String>>,
    schedule: Option<Spanned<PathBuf>>,
    window: Option<Spanned<u32>>,
    radix: Option<Spanned<u32>>,
    segments: Option<Spanned<u32>>,
}

fn one() -> u32 {
    1
}

fn all_ranks() -> u32 {
    u32::MAX
}

fn all_bytes() -> usize {
    usize::MAX
}

/// Reads a table, and the files of schedules that it names. `file` is its name, for messages and
/// explanations; `None`: the shipped one.
///
/// # Errors
/// What is wrong, with file and line: bad TOML, unknown keys, collectives or algorithms, bounds
/// that no call can meet, schedules that are not right.
pub fn parse(text: &str, file: Option<&Path>) -> Result<Table, TableError> {
    let name = file.map_or("default.toml".into(), |file| file.display().to_string());
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let refuse =
        |at: usize, what: String| Err(TableError { file: name.clone(), line: line_of(at), what });
    let form: FileForm = match toml::from_str(text) {
        Ok(form) => form,
        Err(error) => {
            return refuse(error.span().map_or(0, |span| span.start), error.message().to_string());
        }
    };
    if *form.version.as_ref() != VERSION {
        let what = format!("version {}; this build reads version {VERSION}", form.version.as_ref());
        return refuse(form.version.span().start, what);
    }
    let mut rules = Vec::with_capacity(form.rule.len());
    for rule in form.rule {
        let Some(kind) = Kind::by_name(rule.collective.as_ref()) else {
            let what = format!("there is no collective '{}'", rule.collective.as_ref());
            return refuse(rule.collective.span().start, what);
        };
        let (at, algorithm) = match (&rule.algorithm, &rule.schedule) {
            (Some(name), None) => match registered(kind, name.as_ref()) {
                Ok(algorithm) => (name.span().start, algorithm),
                Err(what) => return refuse(name.span().start, what),
            },
            (None, Some(named)) => {
                let at = named.span().start;
                // Beside the table, unless it is absolute.
                let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
                let algorithm = load_schedules(&folder.join(named.as_ref()))?;
                if let Some(what) = mismatch(&rule, kind, algorithm) {
                    return refuse(at, what);
                }
                (at, algorithm)
            }
            _ => {
                let what = "a rule has either an `algorithm` or a `schedule`".into();
                return refuse(rule.collective.span().start, what);
            }
        };
        if let Some((at, what)) = impossible(&rule, kind, at) {
            return refuse(at, what);
        }
        let parameters = match parameters(&rule) {
            Ok(parameters) => parameters,
            Err((at, what)) => return refuse(at, what),
        };
        rules.push(Rule {
            kind,
            ranks_min: rule.ranks_min,
            ranks_max: rule.ranks_max,
            bytes_min: rule.bytes_min,
            bytes_max: rule.bytes_max,
            hosts: rule.hosts,
            commutative: rule.commutative.map(Spanned::into_inner),
            algorithm,
            parameters,
            file: file.map(Path::to_path_buf),
            line: line_of(at),
        });
    }
    let evidence = form.evidence.into_iter().map(|one| {
        let at = one.collective.span().start;
        one.read().map_err(|what| TableError { file: name.clone(), line: line_of(at), what })
    });
    let evidence = evidence.collect::<Result<Vec<_>, _>>()?;
    Ok(Table { rules, measured: form.measured, evidence })
}

/// Where and why the conditions of a rule make no sense, if so.
fn impossible(rule: &RuleForm, kind: Kind, at: usize) -> Option<(usize, String)> {
    if rule.ranks_min > rule.ranks_max || rule.bytes_min > rule.bytes_max {
        return Some((at, "a minimum is above its maximum: no call fits".into()));
    }
    let commutative = rule.commutative.as_ref().filter(|_| !kind.reduces())?;
    let what = format!("{} combines nothing: drop 'commutative'", kind.name());
    Some((commutative.span().start, what))
}

/// The parameters of a rule; or where it says what makes no sense, and what.
fn parameters(rule: &RuleForm) -> Result<Parameters, (usize, String)> {
    let mut parameters = Parameters::default();
    let fields = [
        ("window", &rule.window, 1..=u32::MAX, &mut parameters.window),
        ("radix", &rule.radix, 2..=u32::MAX, &mut parameters.radix),
        ("segments", &rule.segments, 1..=SEGMENTS_MAX, &mut parameters.segments),
    ];
    for (name, said, range, field) in fields {
        let Some(said) = said else { continue };
        if !range.contains(said.as_ref()) {
            let most = match *range.end() {
                u32::MAX => String::new(),
                most => format!(", at most {most}"),
            };
            let what = format!("{name} must be at least {}{most}", range.start());
            return Err((said.span().start, what));
        }
        *field = *said.as_ref();
    }
    Ok(parameters)
}

/// The algorithm of that name, for calls within one group.
fn registered(kind: Kind, wanted: &str) -> Result<&'static Algorithm, String> {
    let known = || ALL.iter().filter(|one| one.kind == kind && !one.inter);
    known().find(|one| one.name == wanted).ok_or_else(|| {
        let known: Vec<&str> = known().map(|one| one.name).collect();
        format!("{} has no algorithm '{wanted}', only {}", kind.name(), known.join(", "))
    })
}

/// What a rule says that its file of schedules contradicts, if anything.
fn mismatch(rule: &RuleForm, kind: Kind, algorithm: &Algorithm) -> Option<String> {
    if algorithm.kind != kind {
        let (found, kind) = (algorithm.kind.name(), kind.name());
        return Some(format!("the file holds schedules of {found}, the rule is for {kind}"));
    }
    if let Numbers::Exactly(ranks) = algorithm.numbers
        && !(rule.ranks_min..=rule.ranks_max).contains(&ranks)
    {
        return Some(format!("the file holds schedules of {ranks} ranks: no call fits"));
    }
    if rule.window.is_some() || rule.radix.is_some() || rule.segments.is_some() {
        return Some("a schedule has no window, radix or segments: its steps are written".into());
    }
    None
}

/// The table that calls use: the user's rules, if [`load`] came first, then the shipped ones.
static TABLE: OnceLock<Table> = OnceLock::new();

fn shipped() -> Table {
    parse(include_str!("default.toml"), None).expect("a test reads the shipped table")
}

/// The rules in force, in their order.
pub fn rules() -> &'static [Rule] {
    &table().rules
}

/// The table in force.
pub fn table() -> &'static Table {
    TABLE.get_or_init(shipped)
}

/// Reads a user's table and puts it before the shipped one. To be called before the first
/// [`choose`]; later calls change nothing.
///
/// # Errors
/// The file cannot be read, or [`parse`] refuses it.
pub fn load(file: &Path) -> Result<(), TableError> {
    let text = std::fs::read_to_string(file).map_err(|error| TableError {
        file: file.display().to_string(),
        line: 1,
        what: format!("it cannot be read: {error}"),
    })?;
    let mut table = parse(&text, Some(file))?;
    table.rules.extend(shipped().rules);
    let _ = TABLE.set(table);
    Ok(())
}

impl Rule {
    /// Why its algorithm cannot serve a call of that shape, if so.
    pub fn misfit(&self, shape: &Shape) -> Option<&'static str> {
        self.algorithm.misfit(&wanted(shape, self.algorithm, self.parameters))
    }

    /// Whether the numbers of a call meet its conditions.
    pub fn covers(&self, kind: Kind, ranks: u32, call: Circumstances) -> bool {
        self.kind == kind
            && (self.ranks_min..=self.ranks_max).contains(&ranks)
            && (self.bytes_min..=self.bytes_max).contains(&call.bytes)
            && self.hosts.is_none_or(|hosts| hosts == call.hosts)
            && self.commutative.is_none_or(|commutative| commutative == call.commutes)
    }
}

/// The plan for a call.
///
/// The plan's shape is not in place if the algorithm cannot be: then the caller copies the input.
pub fn choose(shape: &Shape, call: Circumstances) -> Plan {
    choose_from(rules(), shape, call)
}

/// The plan by the shipped table alone, whatever the user's says.
pub fn choose_shipped(shape: &Shape, call: Circumstances) -> Plan {
    static SHIPPED: OnceLock<Table> = OnceLock::new();
    choose_from(&SHIPPED.get_or_init(shipped).rules, shape, call)
}

/// The plan with a named algorithm, if it can serve the call.
pub fn force(
    algorithm: &'static Algorithm,
    parameters: Parameters,
    shape: &Shape,
    commutes: bool,
) -> Option<Plan> {
    let wanted = wanted(shape, algorithm, parameters);
    can_serve(algorithm, &wanted, commutes).then_some(Plan { algorithm, parameters, shape: wanted })
}

fn can_serve(algorithm: &Algorithm, wanted: &Shape, commutes: bool) -> bool {
    (commutes || algorithm.ordered || !wanted.kind.reduces()) && algorithm.misfit(wanted).is_none()
}

fn choose_from(rules: &[Rule], shape: &Shape, call: Circumstances) -> Plan {
    let fitting = rules.iter().filter(|rule| rule.covers(shape.kind, shape.ranks, call));
    // Between groups each kind has one algorithm.
    let between = || by_name(shape.kind, "between").map(|one| (one, Parameters::default()));
    let all = fitting
        .map(|rule| (rule.algorithm, rule.parameters))
        .chain(std::iter::once_with(between).flatten());
    all.into_iter()
        .find_map(|(algorithm, parameters)| force(algorithm, parameters, shape, call.commutes))
        .expect("a test shows that every call finds an algorithm")
}

/// The shape as the algorithm would be built for.
fn wanted(shape: &Shape, algorithm: &Algorithm, parameters: Parameters) -> Shape {
    let in_place = shape.in_place && algorithm.in_place;
    Shape { in_place, ..algorithm.cut(shape, parameters) }
}

/// The table as text.
pub fn describe() -> String {
    let mut text = String::from("collective         ranks            bytes  algorithm\n");
    for rule in rules() {
        let ranks = match (rule.ranks_min, rule.ranks_max) {
            (least, u32::MAX) => format!(">= {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        let bytes = match (rule.bytes_min, rule.bytes_max) {
            (0, usize::MAX) => "any".to_string(),
            (least, usize::MAX) => format!(">= {least}"),
            (0, most) => format!("<= {most}"),
            (least, most) => format!("{least} to {most}"),
        };
        let name = rule.kind.name();
        writeln!(text, "{name:<18} {ranks:<10} {bytes:>11}  {}", rule.algorithm.name)
            .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_plan() {
        for kind in Kind::ALL {
            for ranks in 1..10 {
                let intra = Shape::new(kind, ranks);
                let mut shapes = vec![intra.clone(), intra.clone().irregular(), intra.in_place()];
                shapes.retain(|shape| !kind.has_neighbors() || !shape.in_place);
                if kind.joins_groups() {
                    shapes.push(Shape::between(kind, ranks, 3));
                    shapes.push(Shape::between(kind, ranks, 3).irregular());
                }
                for shape in shapes {
                    for bytes in [0, 1, 5000, 1 << 20] {
                        for commutes in [false, true] {
                            let hosts = Hosts::Several;
                            let plan = choose(&shape, Circumstances { bytes, commutes, hosts });
                            assert_eq!(plan.algorithm.misfit(&plan.shape), None);
                        }
                    }
                }
            }
        }
    }

    /// Only the root of a gather, scatter or reduction may know that the call is in place.
    #[test]
    fn the_choice_does_not_depend_on_in_place() {
        for kind in [Kind::Gather, Kind::Scatter, Kind::Reduce] {
            for bytes in [0, 5000, 1 << 20] {
                for commutes in [false, true] {
                    let call = Circumstances { bytes, commutes, hosts: Hosts::Several };
                    let name = |shape: Shape| choose(&shape, call).algorithm.name;
                    let shape = Shape::new(kind, 5).root(3);
                    assert_eq!(name(shape.clone()), name(shape.clone().in_place()));
                    let shape = shape.irregular();
                    assert_eq!(name(shape.clone()), name(shape.in_place()));
                }
            }
        }
    }

    #[test]
    fn every_rule_prints() {
        for rule in rules() {
            assert!(describe().contains(rule.algorithm.name));
        }
    }

    #[test]
    fn rules_of_a_user_come_first_and_leave_the_rest_open() {
        let text = "version = 1\n[[rule]]\ncollective = \"allreduce\"\nranks_max = 8\n\
                    bytes_max = 100\nalgorithm = \"ring\"\nwindow = 3\n";
        let mut table = parse(text, Some(Path::new("mine.toml"))).unwrap();
        assert_eq!((table.rules.len(), table.rules[0].line), (1, 6));
        table.rules.extend(shipped().rules);
        let plan = |ranks, bytes, commutes| {
            let shape = Shape::new(Kind::Allreduce, ranks);
            let hosts = Hosts::Several;
            choose_from(&table.rules, &shape, Circumstances { bytes, commutes, hosts })
        };
        assert_eq!(plan(8, 100, true).algorithm.name, "ring");
        assert_eq!(plan(8, 100, true).parameters.window, 3);
        for (ranks, bytes, commutes) in [(9, 100, true), (8, 101, true), (8, 100, false)] {
            assert_eq!(plan(ranks, bytes, commutes).algorithm.name, "recursive_doubling");
        }
    }

    #[test]
    fn hosts_and_commutativity_are_conditions() {
        let text = "version = 1\n[[rule]]\ncollective = \"allreduce\"\nhosts = \"one\"\n\
                    commutative = true\nalgorithm = \"recursive_multiplying\"\nradix = 4\n";
        let mut table = parse(text, None).unwrap();
        table.rules.extend(shipped().rules);
        let name = |hosts, commutes| {
            let call = Circumstances { bytes: 8, commutes, hosts };
            choose_from(&table.rules, &Shape::new(Kind::Allreduce, 4), call).algorithm.name
        };
        assert_eq!(name(Hosts::One, true), "recursive_multiplying");
        assert_eq!(name(Hosts::One, false), "recursive_doubling");
        assert_eq!(name(Hosts::Several, true), "recursive_doubling");
        let text = text.replace("allreduce", "bcast").replace("recursive_multiplying", "knomial");
        assert!(parse(&text, None).unwrap_err().what.contains("combines nothing"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let refused = |text: &str| parse(text, Some(Path::new("t.toml"))).unwrap_err().to_string();
        let head = "version = 1\n[[rule]]\n";
        let cases = [
            ("version = 2\n".to_string(), "t.toml:1: version 2"),
            ("rule = 3".to_string(), "t.toml:1:"),
            (
                format!("{head}collective = \"bcats\"\nalgorithm = \"ring\"\n"),
                "t.toml:3: there is no",
            ),
            (
                format!("{head}collective = \"bcast\"\nalgorithm = \"ring\"\n"),
                "t.toml:4: bcast has no algorithm 'ring', only binomial, knomial, \
                 scatter_allgather, double_tree",
            ),
            (
                format!("{head}collective = \"bcast\"\nbytes = 3\nalgorithm = \"binomial\"\n"),
                "t.toml:4: unknown field `bytes`",
            ),
            (
                format!("{head}collective = \"bcast\"\nranks_max = 0\nalgorithm = \"binomial\"\n"),
                "t.toml:5: a minimum is above",
            ),
            (
                format!("{head}collective = \"bcast\"\nradix = 1\nalgorithm = \"binomial\"\n"),
                "t.toml:4: radix must be",
            ),
        ];
        for (text, begins) in cases {
            let said = refused(&text);
            assert!(said.starts_with(begins), "{said}");
        }
    }
}
