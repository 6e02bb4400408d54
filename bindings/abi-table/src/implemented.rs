// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which functions have a generic body: those whose name the sources of `bindings/mpi/src/api` say.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

const START: &str = "pub unsafe fn ";
const END: &str = "<A: Abi>(";

/// Names of the bodies in the `.rs` files below `api`.
pub fn implemented(api: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(api)? {
        let path = entry?.path();
        if path.is_dir() {
            names.extend(implemented(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            names.extend(bodies(&fs::read_to_string(&path)?));
        }
    }
    Ok(names)
}

/// Names of the bodies in one source text.
fn bodies(source: &str) -> BTreeSet<String> {
    let names = source.lines().filter_map(|line| {
        let name = line.strip_prefix(START)?.split_once(END)?.0;
        (name.starts_with("MPI_") || name.starts_with("MPIX_") || name == "MPIR_Dup_fn")
            .then(|| name.to_string())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bodies_only() {
        let source = "pub unsafe fn MPI_Send<A: Abi>(\n// pub unsafe fn MPI_Recv<A: Abi>(\n\
                      pub unsafe fn helper<A: Abi>(\npub unsafe fn MPI_Wtime<A: Abi>() -> f64 {\n";
        let found: Vec<_> = bodies(source).into_iter().collect();
        assert_eq!(found, ["MPI_Send", "MPI_Wtime"]);
    }
}
