// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;

/// A prefix of its own with a launcher, and the library if wanted.
fn prefix(name: &str, library: bool) -> String {
    let root = std::env::temp_dir().join(format!("strait-contender-{}-{name}", std::process::id()));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("lib")).unwrap();
    std::fs::write(root.join("bin/mpiexec"), "").unwrap();
    if library {
        std::fs::write(root.join("lib").join(STANDARD_FACE), "").unwrap();
    }
    root.display().to_string()
}

fn parsed(text: &str, version: &str) -> Result<Contender, String> {
    Contender::parse(text, |_| version.to_owned())
}

const TWO: Setting<'_> = Setting { ranks: 2, cores: 2, lanes: None };

#[test]
fn launchers_are_recognised() {
    let hydra = "HYDRA build details:\n    Version:         5.0.2\n    Release Date: x\n";
    assert_eq!(guess(hydra), Kind::Mpich);
    assert_eq!(first_line(hydra, Kind::Mpich), "MPICH 5.0.2");
    assert_eq!(guess("Intel(R) MPI Library for Linux* OS, Version 2021.18.1"), Kind::Intel);
    assert_eq!(guess("mpiexec (Open MPI) 5.0.11\n\nReport bugs to x"), Kind::OpenMpi);
    assert_eq!(guess("Strait mpiexec 0.1.0"), Kind::Strait);
    assert_eq!(guess("other"), Kind::Generic);
}

#[test]
fn settings_of_a_contender_come_last() {
    let place = prefix("settings", true);
    let text = format!("m={place},env.FI_PROVIDER=sockets,arg=-verbose,env.A=b=c");
    let mpich = parsed(&text, "HYDRA").unwrap();
    let setting = Setting { lanes: Some("tcp"), ..TWO };
    let run = mpich.invocation(setting, Path::new("/x/osu_bw"), &["-m".into(), "1:8".into()]);
    assert_eq!(run.env["FI_PROVIDER"], "sockets");
    assert_eq!(run.env["MPIR_CVAR_CH4_NETMOD"], "ofi");
    assert_eq!(run.env["A"], "b=c");
    assert!(run.env["LD_LIBRARY_PATH"].starts_with(&format!("{place}/lib")));
    let words = ["-bind-to", "core", "-verbose", "-n", "2", "/x/osu_bw", "-m", "1:8"];
    assert_eq!(run.argv[1..], words);
    let many = mpich.invocation(Setting { ranks: 3, ..TWO }, Path::new("/x/osu_bw"), &[]);
    assert!(!many.argv.contains(&"-bind-to".to_owned()), "3 ranks do not fit 2 cores");
}

#[test]
fn without_the_standard_abi_it_is_left_out_with_the_reason() {
    let place = prefix("old", false);
    let version = "mpiexec (Open MPI) 5.0.11";
    let old = parsed(&format!("o={place}"), version).unwrap();
    let reason = old.left_out.unwrap();
    assert!(reason.contains("Open MPI) 5.0.11 has no libmpi_abi.so.1"), "{reason}");
    let built = parsed(&format!("o={place},programs=/p"), version).unwrap();
    assert_eq!(built.left_out, None);
    let run = built.invocation(Setting { ranks: 4, ..TWO }, Path::new("/p/osu_bw"), &[]);
    assert!(run.argv.contains(&"--oversubscribe".to_owned()));
    assert_eq!(run.env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"], "1");
}

#[test]
fn values_may_have_commas() {
    let place = prefix("commas", true);
    let text =
        format!("o={place},env.UCX_TLS=posix,cma,self,arg=--mca,arg=btl,arg=tcp,self,kind=mpich");
    let found = parsed(&text, "").unwrap();
    assert_eq!(found.env["UCX_TLS"], "posix,cma,self");
    assert_eq!(found.args, ["--mca", "btl", "tcp,self"]);
    assert_eq!(found.kind, Kind::Mpich);
}

#[test]
fn mistakes_are_named() {
    let place = prefix("mistakes", true);
    let wrong = |text: &str| parsed(text, "").unwrap_err();
    assert!(wrong("x").contains("NAME=PREFIX"));
    assert!(wrong("=x").contains("NAME=PREFIX"));
    assert!(wrong("x=/nosuch").contains("no /nosuch/bin/mpiexec"));
    assert!(wrong(&format!("x={place},colour=red")).contains("'colour' is unknown"));
    assert!(wrong(&format!("x={place},arg")).contains("not KEY=VALUE"));
    assert!(wrong(&format!("x={place},kind=lam")).contains("not 'lam'"));
    let generic = parsed(&format!("x={place}"), "Other 1").unwrap();
    assert!(generic.lacks_lanes(Some("tcp")).unwrap().contains("Other 1"));
    assert_eq!(generic.lacks_lanes(None), None);
    let told = parsed(&format!("x={place},env.NET=tcp"), "Other 1").unwrap();
    assert_eq!(told.lacks_lanes(Some("tcp")), None);
}

#[test]
fn commands_can_be_pasted() {
    let env = BTreeMap::from([("A".to_owned(), "b c".to_owned())]);
    let argv = ["mpiexec", "it's", "", "--mca", "btl", "tcp,self"].map(str::to_owned).to_vec();
    let shown = Invocation { env, argv }.shown();
    assert_eq!(shown, r"A='b c' mpiexec 'it'\''s' '' --mca btl tcp,self");
}
