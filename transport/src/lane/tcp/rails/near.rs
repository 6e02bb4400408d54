// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of several network interfaces is near to this process: the card's NUMA node, from sysfs.
//!
//! An interface without a node (virtual ones, machines with one node) is as near as a near one:
//! nothing is known against it. Equally near ones keep the order in which they were named.
#![forbid(unsafe_code)]

use crate::topology::CoreSet;
use std::fs;
use std::path::Path;

/// The places in `names`, nearest first.
pub fn order(names: &[String]) -> Vec<u8> {
    order_in(Path::new("/sys"), names, &CoreSet::allowed())
}

fn order_in(sysfs: &Path, names: &[String], cores: &CoreSet) -> Vec<u8> {
    let is_far = |place: &u8| {
        let node = node_of(sysfs, &names[usize::from(*place)]);
        node.is_some_and(|node| cores_of(sysfs, node).is_some_and(|there| !there.meets(cores)))
    };
    let mut places: Vec<u8> = (0..names.len() as u8).collect();
    places.sort_by_key(is_far);
    places
}

fn node_of(sysfs: &Path, name: &str) -> Option<u32> {
    let text = fs::read_to_string(sysfs.join("class/net").join(name).join("device/numa_node"));
    // It says -1 where there is none.
    text.ok()?.trim().parse().ok()
}

fn cores_of(sysfs: &Path, node: u32) -> Option<CoreSet> {
    let path = sysfs.join(format!("devices/system/node/node{node}/cpulist"));
    CoreSet::parse(&fs::read_to_string(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_of_our_node_come_first_and_others_keep_their_order() {
        let sysfs = std::env::temp_dir().join(format!("strait-near-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = sysfs.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("class/net/far0/device/numa_node", "1\n");
        write("class/net/near0/device/numa_node", "0\n");
        write("class/net/none/device/numa_node", "-1\n");
        write("devices/system/node/node0/cpulist", "0-1,4\n");
        write("devices/system/node/node1/cpulist", "2-3\n");
        let names = ["far0", "virtual", "near0", "none"].map(String::from);
        assert_eq!(order_in(&sysfs, &names, &CoreSet::of(&[4])), [1, 2, 3, 0]);
        assert_eq!(order_in(&sysfs, &names, &CoreSet::of(&[2])), [0, 1, 3, 2]);
        assert_eq!(order_in(&sysfs, &names, &CoreSet::of(&[1, 2])), [0, 1, 2, 3]);
        fs::remove_dir_all(&sysfs).expect("removed");
    }
}
