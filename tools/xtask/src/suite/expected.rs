// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each example and each script of the course prints at N ranks.
//!
//! Lines of different ranks may come in any order, so lines are compared as a sorted list; host
//! names, which differ from machine to machine, are taken out first.

/// Is `out` what the script `name` prints at `ranks` ranks?
pub fn check(name: &str, ranks: usize, out: &str) -> Result<(), String> {
    let wanted = match lines(name, ranks) {
        Some(lines) => lines,
        None => return Err(format!("expected.rs does not know what {name} prints")),
    };
    let mut wanted: Vec<String> = wanted.into_iter().map(|line| without_host(&line)).collect();
    let mut got: Vec<String> = out.lines().map(without_host).collect();
    wanted.sort();
    got.sort();
    if wanted == got {
        return Ok(());
    }
    let lost = wanted.iter().find(|line| !got.contains(line));
    let extra = got.iter().find(|line| !wanted.contains(line));
    Err(format!(
        "{} lines, expected {}; the first missing: {lost:?}; the first unexpected: {extra:?}",
        got.len(),
        wanted.len(),
    ))
}

fn lines(name: &str, ranks: usize) -> Option<Vec<String>> {
    let each = |line: fn(usize, usize) -> String| {
        Some((0..ranks).map(|rank| line(rank, ranks)).collect::<Vec<_>>())
    };
    match name {
        "hello" => each(|rank, ranks| format!("Hello from rank {rank} of {ranks} on HOST")),
        "ring" => {
            let sum = ranks * (ranks - 1) / 2;
            Some(vec![format!("the token passed {ranks} ranks and collected {sum}")])
        }
        "pi" => Some(vec![format!("pi is 3.14159265 with {ranks} ranks")]),
        "halo" => Some(vec![format!("halo exchange on {ranks} ranks agrees with one rank alone")]),
        "collective_comm1" => each(|rank, _| {
            format!("rank {rank} has {{'key1': [7, 2.72, (2+3j)], 'key2': ('abc', 'xyz')}}")
        }),
        "collective_comm2" => {
            each(|rank, _| format!("rank {rank} has {}", (rank + 1) * (rank + 1)))
        }
        "collective_comm3" => each(|rank, ranks| {
            if rank > 0 {
                return format!("rank {rank} has None");
            }
            format!("rank 0 has {}", list((1..=ranks).map(|i| i * i)))
        }),
        "point_point" => {
            Some(vec!["rank 0 sends data".into(), "rank 1 receives {'a': 7, 'b': 3.14}".into()])
        }
        "point_point2" => Some(
            (1..ranks)
                .flat_map(|rank| {
                    let receives = format!("rank {rank} receives {{'a': 7, 'b': 3.14}}");
                    ["rank 0 sends data".to_string(), receives]
                })
                .collect(),
        ),
        "distributed_sum" => Some(distributed_sum(ranks)),
        _ => None,
    }
}

/// Rank 0 deals ten numbers to each rank, all add up, rank 0 collects.
fn distributed_sum(ranks: usize) -> Vec<String> {
    let slice = |rank: usize| rank * 10..rank * 10 + 10;
    let sum = |rank: usize| slice(rank).sum::<usize>();
    let mut lines = vec![
        format!("Process 0 on HOST has created data: {}", list(0..ranks * 10)),
        format!("Process 0 computed its result: {}", sum(0)),
        format!("Final aggregated result: {}", (0..ranks * 10).sum::<usize>()),
    ];
    for rank in 1..ranks {
        let dealt = list(slice(rank));
        lines.push(format!("Process 0 sent data slice {dealt} to process {rank}"));
        lines.push(format!("Process 0 received result from process {rank}"));
        lines.push(format!("Process {rank} on HOST received data slice: {dealt}"));
        lines.push(format!("Process {rank} computed its result: {}", sum(rank)));
        lines.push(format!("Process {rank} sent result back to process 0"));
    }
    lines
}

/// As Python prints a list.
fn list(items: impl Iterator<Item = usize>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// The word after ` on ` is a host: `Process 0 on vm has ...`.
fn without_host(line: &str) -> String {
    let starts = line.starts_with("Process ") || line.starts_with("Hello ");
    match line.split_once(" on ") {
        Some((before, after)) if starts => {
            let rest = after.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before} on HOST {rest}").trim_end().to_string()
        }
        _ => line.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn order_and_host_do_not_matter_but_every_line_does() {
        let out = "Hello from rank 1 of 2 on a\nHello from rank 0 of 2 on b\n";
        assert!(check("hello", 2, out).is_ok());
        assert!(check("hello", 3, out).is_err());
        assert!(check("hello", 2, &out[..28]).is_err());
        assert!(check("unknown", 2, out).is_err());
    }
}
