// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every option of mpiexec, once: the lexer, the help text and the suggestions read this table.
//!
//! Names are written without dashes: one or two dashes are accepted before each of them. An option
//! with one value also accepts `-name=value`.
#![forbid(unsafe_code)]

/// What an option means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Id {
    Ranks,
    ConfigFile,
    Directory,
    Env,
    EnvList,
    EnvAll,
    EnvNone,
    GlobalEnv,
    GlobalEnvList,
    GlobalEnvAll,
    GlobalEnvNone,
    Export,
    Label,
    LabelPattern,
    OutFile,
    ErrFile,
    OutputFrom,
    Stdin,
    Timeout,
    Grace,
    HangReport,
    KeepGoing,
    BindTo,
    ReportBindings,
    DryRun,
    Verbose,
    ExitCodes,
    Version,
    Help,
    Hosts,
    HostFile,
    PerHost,
    Prefix,
    Interface,
    Ports,
    Launcher,
    LauncherExec,
    FanOut,
    MapBy,
    RankBy,
    Mca,
    NoEffect,
    NoEffectValue,
    NotYet,
    NotYetValue,
}

/// Where an option is shown in the help text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Programs,
    Environment,
    Output,
    Ending,
    Hosts,
    Placement,
    Looking,
    Accepted,
    NotYet,
}

/// The sections in the order of the help text, with their titles.
pub const SECTIONS: &[(Section, &str)] = &[
    (Section::Programs, "What to run (each program between ':' has its own)"),
    (Section::Environment, "Environment (-env* for this program, -genv* and -x for all)"),
    (Section::Output, "Input and output"),
    (Section::Ending, "Ending"),
    (Section::Hosts, "Several hosts (in blocks unless -map-by node; without slots evenly)"),
    (Section::Placement, "Placement"),
    (Section::Looking, "Looking"),
    (Section::Accepted, "Accepted for the sake of other launchers, without effect here"),
    (Section::NotYet, "Not yet"),
];

/// One option.
#[derive(Debug)]
pub struct Row {
    /// What it means.
    pub id: Id,
    /// All its names, the one for the help text first.
    pub names: &'static [&'static str],
    /// What its values are called; as many as it takes.
    pub values: &'static [&'static str],
    /// Where the help text shows it.
    pub section: Section,
    /// What it does.
    pub text: &'static str,
}

const fn row(
    id: Id,
    names: &'static [&'static str],
    values: &'static [&'static str],
    section: Section,
    text: &'static str,
) -> Row {
    Row { id, names, values, section, text }
}

use Section::{Accepted, Ending, Environment, Hosts, Looking, NotYet, Output, Placement, Programs};

/// The table.
pub const ROWS: &[Row] = &[
    row(
        Id::Ranks,
        &["n", "np", "c"],
        &["N"],
        Programs,
        "Start N ranks of the program (default 1).",
    ),
    row(
        Id::ConfigFile,
        &["configfile", "app"],
        &["FILE"],
        Programs,
        "Read the programs from FILE, each with its options in a line; the last option here.",
    ),
    row(Id::Directory, &["wdir", "wd", "set-cwd"], &["DIR"], Programs, "Run it in DIR."),
    row(
        Id::Env,
        &["env"],
        &["NAME", "VALUE"],
        Environment,
        "Set NAME; `-env NAME=VALUE` works too.",
    ),
    row(Id::GlobalEnv, &["genv"], &["NAME", "VALUE"], Environment, "The same for all programs."),
    row(
        Id::Export,
        &["x"],
        &["NAME[=VALUE]"],
        Environment,
        "Pass NAME on, or set it, for all programs.",
    ),
    row(Id::EnvList, &["envlist"], &["A,B"], Environment, "Pass only these of our variables."),
    row(Id::GlobalEnvList, &["genvlist"], &["A,B"], Environment, "The same for all programs."),
    row(Id::EnvAll, &["envall"], &[], Environment, "Pass all our variables (the default)."),
    row(Id::GlobalEnvAll, &["genvall"], &[], Environment, "The same for all programs."),
    row(Id::EnvNone, &["envnone"], &[], Environment, "Pass none of our variables."),
    row(Id::GlobalEnvNone, &["genvnone"], &[], Environment, "The same for all programs."),
    row(
        Id::Label,
        &["l", "prepend-rank", "tag-output"],
        &[],
        Output,
        "Begin each line with its rank: `[3] `.",
    ),
    row(
        Id::LabelPattern,
        &["prepend-pattern"],
        &["PATTERN"],
        Output,
        "Begin each line with PATTERN: %r rank, %h host, %p process id, %t time, %g program, %%.",
    ),
    row(
        Id::OutFile,
        &["outfile-pattern", "outfile"],
        &["FILE"],
        Output,
        "Write standard output to FILE (%r rank, %h host, %g program); makes directories.",
    ),
    row(
        Id::ErrFile,
        &["errfile-pattern", "errfile"],
        &["FILE"],
        Output,
        "The same for standard error.",
    ),
    row(
        Id::OutputFrom,
        &["output-from"],
        &["LIST"],
        Output,
        "Show standard output of these ranks only: 0,3-5.",
    ),
    row(
        Id::Stdin,
        &["stdin", "s"],
        &["RANK|all|none"],
        Output,
        "Who reads our standard input (default 0).",
    ),
    row(
        Id::Timeout,
        &["timeout"],
        &["TIME"],
        Ending,
        "End the job after TIME (90, 5m, 1h): exit code 124, a report. Also MPIEXEC_TIMEOUT.",
    ),
    row(
        Id::Grace,
        &["grace"],
        &["TIME"],
        Ending,
        "How long the other ranks may go on after one failed (default 300ms).",
    ),
    row(
        Id::HangReport,
        &["hang-report"],
        &["TIME"],
        Ending,
        "Report once who waits in what when no rank moved for TIME; the job goes on.",
    ),
    row(
        Id::KeepGoing,
        &["keep-going", "disable-auto-cleanup"],
        &[],
        Ending,
        "A rank that fails does not end the job: the others go on, and may shrink their \
         communicators (MPIX_Comm_shrink). The exit code still tells of the failure.",
    ),
    row(
        Id::BindTo,
        &["bind-to"],
        &["WHAT"],
        Placement,
        "core (equal parts of the host; the default where each rank has one), none, hwthread, \
         l1cache to l3cache, numa, package, or user:LIST, an element per rank: user:0,1,4+5.",
    ),
    row(
        Id::MapBy,
        &["map-by"],
        &["WORD"],
        Placement,
        "Deal ranks to slot (default: blocks), core, l3cache, numa, package, or node in turn; seq: \
         to the hosts as the list names them; ppr:N:UNIT: N to each. PE=N behind it: N cores each.",
    ),
    row(
        Id::RankBy,
        &["rank-by", "rankmap"],
        &["WORD"],
        Placement,
        "Number them: span (default) as dealt; fill: those of a unit in a row; node: one of each \
         host in turn; package, numa, core: the same within a host; (vector,(HOST,HOSTS,EACH)).",
    ),
    row(
        Id::ReportBindings,
        &["report-bindings"],
        &[],
        Placement,
        "Say which processors each rank may use.",
    ),
    row(Id::DryRun, &["dry-run"], &[], Looking, "Print what would be started, and start nothing."),
    row(
        Id::Verbose,
        &["v", "verbose", "vv"],
        &[],
        Looking,
        "Say more: notes, and the exit code of every rank.",
    ),
    row(
        Id::ExitCodes,
        &["print-all-exitcodes"],
        &[],
        Looking,
        "Say the exit code of every rank at the end.",
    ),
    row(Id::Version, &["version", "V", "info"], &[], Looking, "Print the version."),
    row(Id::Help, &["help", "h", "?"], &[], Looking, "Print this text."),
    row(
        Id::NoEffect,
        &[
            "oversubscribe",
            "allow-run-as-root",
            "use-hwthread-cpus",
            "overcommit",
            "nolocal",
            "report-state-on-timeout",
        ],
        &[],
        Accepted,
        "As it is here anyway: root may run ranks, any number of them, and time limits report.",
    ),
    row(
        Id::NoEffectValue,
        &["path", "rmk"],
        &["VALUE"],
        Accepted,
        "Programs are searched in PATH; -wdir and -env PATH change that.",
    ),
    row(
        Id::Mca,
        &["mca", "gmca", "prtemca", "pmixmca"],
        &["KEY", "VALUE"],
        Accepted,
        "Open MPI's parameters; -v says which were ignored.",
    ),
    row(
        Id::Hosts,
        &["hosts", "host", "H", "hostlist", "machines", "w"],
        &["LIST"],
        Hosts,
        "Run on these hosts: a,b:4,node[01-16]; the number is that of ranks (slots).",
    ),
    row(
        Id::HostFile,
        &["f", "hostfile", "machinefile"],
        &["FILE"],
        Hosts,
        "The same from a file, a host in each line: node1:4, or node1 slots=4.",
    ),
    row(
        Id::PerHost,
        &["ppn", "perhost", "N", "npernode"],
        &["N"],
        Hosts,
        "Ranks of each host, whatever its slots.",
    ),
    row(
        Id::Launcher,
        &["launcher", "bootstrap"],
        &["NAME"],
        Hosts,
        "How to start on another host: ssh (default), srun, fork (here, for tests).",
    ),
    row(
        Id::LauncherExec,
        &["launcher-exec", "bootstrap-exec"],
        &["PROGRAM"],
        Hosts,
        "Use PROGRAM for that: it gets the host and a command with arguments.",
    ),
    row(
        Id::FanOut,
        &["fan-out"],
        &["N"],
        Hosts,
        "Start at most N hosts from one host, and more through these (default 32; 0: no bound).",
    ),
    row(
        Id::Prefix,
        &["prefix"],
        &["DIR"],
        Hosts,
        "Where Strait is installed on the other hosts (default: as here).",
    ),
    row(
        Id::Interface,
        &["iface"],
        &["NAME|SUBNET[,...]"],
        Hosts,
        "The network that TCP connections between hosts use: eth1, or 10.0.0.0/8; or several.",
    ),
    row(
        Id::Ports,
        &["ports", "port-range"],
        &["FIRST-LAST"],
        Hosts,
        "The ports that ranks may listen on: 5000-5100, for firewalls. Also STRAIT_TCP_PORTS.",
    ),
    row(
        Id::NotYetValue,
        &["rankfile", "membind", "wait", "wrap", "debug", "set", "tune"],
        &["VALUE"],
        NotYet,
        "Planned.",
    ),
    row(Id::NotYet, &["no-oversubscribe", "pty", "get-stack-traces"], &[], NotYet, "Planned."),
];

/// The row of a name without dashes.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.names.contains(&name))
}

/// The name most like `name`, if any is like it.
pub fn suggest(name: &str) -> Option<&'static str> {
    ROWS.iter()
        .flat_map(|row| row.names)
        .filter(|candidate| candidate.len() > 1)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How a name is usually written.
pub fn spelled(name: &str) -> String {
    format!("-{name}")
}

/// The help text.
pub fn help_text() -> String {
    let mut text = String::from(
        "mpiexec starts the ranks of an MPI program on this host or on several, shows what they\n\
         print, and ends them together.\n\n\
         usage: mpiexec [options] program [arguments] [ : [options] program [arguments] ]...\n\n\
         Options take one dash or two, and their value after a space or `=`.\n",
    );
    for (section, title) in SECTIONS {
        text.push_str(&format!("\n{title}:\n"));
        for row in ROWS.iter().filter(|row| row.section == *section) {
            let names: Vec<String> = row.names.iter().map(|name| spelled(name)).collect();
            text.push_str(
                &format!("  {} {}\n", names.join(" "), row.values.join(" ")).replace(" \n", "\n"),
            );
            text.push_str(&format!("        {}\n", row.text));
        }
    }
    text.push_str(
        "\nExit code: that of the first rank that failed, 128 + number for a signal, 124 after a\n\
         timeout, 2 for a wrong command line, 126 or 127 when a program cannot run.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_twice() {
        let mut names: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggest("hots"), Some("hosts"));
        assert_eq!(suggest("timout"), Some("timeout"));
        assert_eq!(suggest("outfile-patern"), Some("outfile-pattern"));
        assert_eq!(suggest("zzzzzz"), None);
    }
}
