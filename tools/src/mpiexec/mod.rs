// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The launcher: reads the command line (parse), finds the programs (plan), starts the ranks
//! (start, spawn), relays what they print (relay, sink), and ends them together (job, ending). On
//! several hosts (hosts) it starts itself as an agent on each (launch, agent), and brings together
//! what they do (head, wire).

mod address;
mod agent;
mod binding;
mod branch;
mod config_file;
mod control;
mod ending;
mod environment;
mod failure;
mod foreign;
mod head;
mod hosts;
mod job;
mod label;
mod launch;
mod option_table;
mod parse;
mod plan;
mod pmi;
mod port;
mod program;
mod ready;
mod relay;
mod report;
mod request;
pub(crate) mod signals;
mod sink;
mod spawn;
mod spawned;
mod spread;
mod start;
mod stdin_copy;
mod tree;
mod values;
mod waiting;
mod wire;

use crate::prefix::Prefix;
use environment::JobFacts;
use failure::{CODE_USAGE, Failure};
use hosts::Launcher;
use job::{Job, Parts};
use plan::Plan;
use rustix::event::epoll;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use strait_transport::bootstrap::contract::SPAWN_OPTION;
use strait_transport::node::{Node, NodePlan, RankOrder};
use strait_transport::topology::CoreSet;

pub use binding::allowed_processors;
pub(crate) use binding::{Cores, Placement, Wish, is_narrowed};
pub use port::groups;
pub(crate) use request::Options as MpiexecOptions;
pub(crate) use values::{processor_list, rank_set, ranks_named};

/// What a Python program gets from mpiexec, for `strait doctor`.
pub fn python_variables(prefix: Option<&Prefix>) -> environment::Variables {
    let mut variables: environment::Variables = std::env::vars_os().collect();
    environment::for_python(&mut variables, prefix);
    variables
}

/// Reads `-bind-to` and `-map-by`, for `strait info`.
///
/// # Errors
/// As mpiexec says it.
pub(crate) fn placement_words(
    bind_to: Option<&str>,
    map_by: Option<&str>,
    options: &mut MpiexecOptions,
) -> Result<(), Failure> {
    if let Some(value) = map_by {
        binding::map_by("--map-by", value, options)?;
    }
    if let Some(value) = bind_to {
        parse::bind_to("--bind-to", value, options)?;
    }
    Ok(())
}

/// The names of a list of hosts, as `-hosts` takes it, each once.
///
/// # Errors
/// What is wrong with it.
pub fn host_names(list: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    hosts::add_list("--hosts", list, &mut found).map_err(|failure| failure.text)?;
    Ok(spread::merged(&found).into_iter().map(|host| host.name).collect())
}

/// Runs mpiexec with the arguments after its name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match execute(args, host) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn execute(args: Vec<OsString>, host: String) -> Result<u8, Failure> {
    if let [option, descriptor] = &args[..]
        && option == agent::OPTION
        && let Some(descriptor) = descriptor.to_str().and_then(|text| text.parse().ok())
    {
        return Ok(agent::main(descriptor));
    }
    if let [option, rest @ ..] = &args[..]
        && option == SPAWN_OPTION
    {
        if !rest.is_empty() && !spawned::detach() {
            return Ok(0);
        }
        return execute_spawned(host);
    }
    if args.is_empty() {
        eprintln!("{}", option_table::help_text());
        return Ok(CODE_USAGE);
    }
    let mut request = match parse::parse(args)? {
        request::Command::Help => {
            print_quietly(&option_table::help_text());
            return Ok(0);
        }
        request::Command::Version => {
            print_quietly(&format!("Strait mpiexec {}\n", crate::VERSION));
            return Ok(0);
        }
        request::Command::Run(request) => request,
    };
    launch(&mut request, host, Asked::default())
}

/// A job that others spawn: what keeps it from starting is told them, not the terminal.
fn execute_spawned(host: String) -> Result<u8, Failure> {
    let (asker, wish) = spawned::take()?;
    let asker = std::rc::Rc::new(asker);
    let launched = wish.and_then(|wish| {
        let spawned::Wish { mut request, names } = wish;
        launch(&mut request, host, Asked { asker: Some(asker.clone()), names })
    });
    launched.or_else(|failure| {
        asker.failed(&failure);
        // Whoever asked knows; what it makes of it is its own affair.
        Ok(0)
    })
}

/// Who asked for a job, if it was not the command line.
#[derive(Default)]
struct Asked {
    asker: Option<std::rc::Rc<spawned::Asker>>,
    /// Who keeps the names of ports, if it is not this mpiexec.
    names: Option<String>,
}

/// Runs a job on the hosts that it names.
fn launch(request: &mut request::Request, host: String, asked: Asked) -> Result<u8, Failure> {
    if request.options.timeout.is_none()
        && let Ok(limit) = std::env::var("MPIEXEC_TIMEOUT")
    {
        request.options.timeout = Some(values::duration("MPIEXEC_TIMEOUT", &limit)?);
    }
    let is_open = matches!(request.options.launcher, Launcher::Auto | Launcher::Srun);
    if request.options.hosts.is_empty()
        && is_open
        && let Some(hosts) = hosts::of_slurm(&|name| std::env::var(name).ok())
    {
        request.options.hosts = hosts;
        request.options.launcher = Launcher::Srun;
    }
    binding::count_ranks(request)?;
    let spread = head::spread_of(request)?;
    if spread.parts.iter().any(|part| !hosts::is_here(&part.host, &host)) {
        if request.options.dry_run {
            print_quietly(&head::table(request, &spread));
            return Ok(0);
        }
        if let Some(asker) = &asked.asker {
            asker.started();
        }
        return head::run(request, spread, host);
    }
    let ours: environment::Variables = std::env::vars_os().collect();
    let plan = Plan::prepare(request, host, &ours, 0..request.size(), own_order(request)?)?;
    if request.options.dry_run {
        print_quietly(&plan.table());
        return Ok(0);
    }
    let (job, key) = fresh_secrets()?;
    let mapping = pmi::mapping(&vec![0; plan.size() as usize]);
    run(&plan, Place { job, key, index: None, address: None, mapping, link: None, asked })
}

/// The order of ranks on this host alone: theirs, unless a test turns it around, so that what
/// counts processes and what counts ranks can be told apart without a second host.
fn own_order(request: &request::Request) -> Result<RankOrder, Failure> {
    let size = request.size();
    match std::env::var("STRAIT_TEST_ORDER") {
        Err(_) => Ok(RankOrder::default()),
        Ok(word) if word == "reverse" => {
            Ok(RankOrder::new((0..size).rev().collect()).expect("each rank once"))
        }
        Ok(word) => Err(Failure::usage(format!("STRAIT_TEST_ORDER is '{word}', not 'reverse'"))),
    }
}

/// Identity and key of a new job.
fn fresh_secrets() -> Result<([u8; 16], [u8; 32]), Failure> {
    let (mut job, mut key) = ([0_u8; 16], [0_u8; 32]);
    for bytes in [&mut job[..], &mut key[..]] {
        getrandom::fill(bytes)
            .map_err(|error| Failure::with_code(1, format!("no random numbers: {error}")))?;
    }
    Ok((job, key))
}

/// What a loop of mpiexec stands on, with ranks of its own or with agents.
struct Ground {
    signals: signals::Signals,
    canary: signals::Canary,
    /// The descriptor limit before ours.
    limit: Option<libc::rlimit>,
    /// Descriptors that we may open.
    descriptors: u64,
    /// The epoll of everything.
    outer: OwnedFd,
    /// The same, for the relay.
    again: OwnedFd,
}

impl Ground {
    fn lay() -> Result<Ground, Failure> {
        let fail = |what: &str, errno: rustix::io::Errno| start::system(what, errno.into());
        let signals = signals::Signals::watch()
            .map_err(|error| start::system("cannot watch signals", error))?;
        let canary = signals::Canary::start(&signals)
            .map_err(|error| start::system("cannot start a process", error))?;
        let (limit, descriptors) = signals::raise_descriptor_limit();
        let outer = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| fail("cannot make an epoll", errno))?;
        let again = rustix::io::fcntl_dupfd_cloexec(&outer, 3)
            .map_err(|errno| fail("no descriptors left", errno))?;
        Ok(Ground { signals, canary, limit, descriptors, outer, again })
    }
}

/// What the ranks of this host belong to.
struct Place {
    job: [u8; 16],
    key: [u8; 32],
    /// Number of this host in a job of several.
    index: Option<usize>,
    /// By which address the other hosts reach it.
    address: Option<std::net::Ipv4Addr>,
    /// Which ranks share a host, in the words of PMI.
    mapping: String,
    /// The mpiexec that we are an agent of.
    link: Option<agent::Link>,
    /// Who asked for the job.
    asked: Asked,
}

/// Prints to standard output; a closed pipe is nobody's concern.
fn print_quietly(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn run(plan: &Plan<'_>, place: Place) -> Result<u8, Failure> {
    let fail = |what: &str, errno: rustix::io::Errno| start::system(what, errno.into());
    let Ground { signals, canary, limit, descriptors, outer, again } = Ground::lay()?;
    start::check_descriptors(plan.size(), descriptors)?;
    let Place { job, key, index, address, mapping, mut link, asked } = place;
    let (first, local_size, size) = (plan.first, plan.size(), plan.job_size);
    let node_plan = NodePlan { job, key, size, first_local_rank: first, local_size };
    let node = Node::create_ordered(&node_plan, &plan.order).map_err(|error| {
        Failure::with_code(1, format!("no shared memory for the node: {error}"))
    })?;
    // Otherwise ranks that come early would take the others for sharers of their cores.
    for local_rank in 0..local_size {
        if let Some(processors) = plan.processors(local_rank) {
            node.record(local_rank).publish_cores(&CoreSet::of(processors));
        }
    }
    let job: String = job.iter().map(|byte| format!("{byte:02x}")).collect();
    let socket = match index {
        Some(index) => format!("strait-{job}-host{index}"),
        None => format!("strait-{job}"),
    };
    let control = control::Control::listen(&socket, &plan.ranks)
        .map_err(|errno| fail("cannot listen for the ranks", errno))?;
    let relay = match &link {
        Some(_) => relay::Relay::framed(again, job::RELAY_TOKENS),
        None => relay::Relay::new(again, job::RELAY_TOKENS),
    };
    let relay = relay.map_err(|errno| fail("cannot set up the output", errno))?;
    // Without it, orphans of ranks go to init, and only MPI processes among them end with us.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let spawner = spawn::Spawner::new(signals.mask_before, limit)
        .map_err(|error| start::system("no memory for a stack", error))?;
    // Numbers stay what they are in the ranks; duplicates, since the originals move into the job.
    let duplicate = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|errno| fail("no descriptors left", errno))
    };
    let node_fd = duplicate(node.descriptor())?;
    let facts = JobFacts {
        job,
        names: asked.names.unwrap_or_else(|| socket.clone()),
        socket,
        size,
        local_size,
        // Before it stands what the user set, if he did: the first of two counts.
        address,
        node_fd: node_fd.as_raw_fd(),
    };
    let starter = start::Starter { plan, spawner: &spawner, facts: &facts, node: node_fd.as_fd() };
    if let Some(link) = &mut link {
        agent::await_start(link)?;
    }
    let parts = Parts { node, outer, signals, canary, control, relay, mapping, link };
    let mut job = Job::start(plan, parts, &starter)?;
    if let Some(asker) = &asked.asker {
        asker.started();
    }
    announce(plan, &mut job);
    Ok(job.run())
}

/// What is said at the start: little.
fn announce(plan: &Plan<'_>, job: &mut Job<'_>) {
    for note in plan.programs.iter().filter_map(|program| program.resolved.note.as_ref()) {
        job.say(note);
    }
    let options = &plan.request.options;
    for (name, _) in options.env.set.iter().filter(|(_, value)| value.is_none()) {
        if std::env::var_os(name).is_none() {
            let name = name.to_string_lossy();
            job.say(&format!("note: -x {name}: no variable of this name is set here"));
        }
    }
    if options.verbose {
        for note in &options.notes {
            job.say(&format!("note: {note}"));
        }
    }
    // The same on all hosts.
    if let Some(warning) = plan.placement.warning().filter(|_| plan.first == 0) {
        job.say(&warning);
    }
    if options.verbose || options.report_bindings {
        for note in &plan.placement.notes {
            job.say(&format!("note: host {}: {note}", plan.host));
        }
    }
    if options.report_bindings {
        job.say(&plan.bindings());
    }
}
