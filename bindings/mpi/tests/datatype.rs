// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random trees of constructors against the plain definition of a type map: a list of entries.

use proptest::prelude::*;
use std::sync::Arc;
use strait_mpi::datatype::{DEFAULT_LENGTH, Distribution, Form, Order, Type, predefined};
use strait_transport::payload::{Layout, Payload};

/// A type map as the standard defines it.
#[derive(Clone, Default, Debug)]
struct Map {
    /// Each basic element, in order.
    entries: Vec<Entry>,
    /// Lower and upper bounds of the parts.
    spans: Vec<(i64, i64)>,
    lb_markers: Vec<i64>,
    ub_markers: Vec<i64>,
}

impl Map {
    fn lb(&self) -> i64 {
        let markers = self.lb_markers.iter().min().copied();
        markers.or(self.spans.iter().map(|s| s.0).min()).unwrap_or(0)
    }

    fn ub(&self) -> i64 {
        if let Some(marker) = self.ub_markers.iter().max() {
            return *marker;
        }
        let end = self.spans.iter().map(|s| s.1).max().unwrap_or(0);
        let alignment = self.entries.iter().map(|e| e.2).max().unwrap_or(1);
        let mut ub = end;
        while (ub - self.lb()) % alignment != 0 {
            ub += 1;
        }
        ub
    }

    fn extent(&self) -> i64 {
        self.ub() - self.lb()
    }

    fn place(&mut self, child: &Map, at: i64) {
        if !child.entries.is_empty() {
            self.spans.push((child.lb() + at, child.ub() + at));
        }
        self.entries.extend(child.entries.iter().map(|e| (e.0 + at, e.1, e.2)));
        self.lb_markers.extend(child.lb_markers.iter().map(|m| m + at));
        self.ub_markers.extend(child.ub_markers.iter().map(|m| m + at));
    }

    /// Blocks: displacement in bytes, and number of children side by side.
    fn blocks(child: &Map, blocks: impl IntoIterator<Item = (i64, i64)>) -> Map {
        let mut map = Map::default();
        for (at, length) in blocks {
            for i in 0..length {
                map.place(child, at + i * child.extent());
            }
        }
        map
    }

    fn resized(&self, lb: i64, extent: i64) -> Map {
        let entries = self.entries.clone();
        Map { entries, spans: Vec::new(), lb_markers: vec![lb], ub_markers: vec![lb + extent] }
    }

    /// Addresses of all bytes of `count` elements, in packed order.
    fn addresses(&self, count: i64) -> Vec<i64> {
        let element = |i: i64| {
            let shift = i * self.extent();
            self.entries.iter().flat_map(move |e| (e.0 + shift)..(e.0 + shift + e.1))
        };
        (0..count).flat_map(element).collect()
    }
}

/// Displacement, bytes and alignment.
type Entry = (i64, i64, i64);

/// Predefined types to build of: code and the map of one element.
const LEAVES: [(u32, &[Entry]); 7] = [
    (0x247, &[(0, 1, 1)]),
    (0x208, &[(0, 2, 2)]),
    (0x209, &[(0, 4, 4)]),
    (0x214, &[(0, 8, 8)]),
    (0x22c, &[(0, 2, 4), (4, 4, 4)]),
    (0x229, &[(0, 8, 8), (8, 4, 8)]),
    (0x220, &[(0, 16, 16)]),
];

type Pair = (Arc<Type>, Map);

fn leaf() -> impl Strategy<Value = Pair> {
    (0..LEAVES.len()).prop_map(|i| {
        let (code, entries) = LEAVES[i];
        let ty = predefined(code).unwrap().clone();
        let spans = vec![(0, ty.extent())];
        (ty, Map { entries: entries.to_vec(), spans, ..Map::default() })
    })
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Int), Just(Form::Large)]
}

/// A list of (length, displacement).
fn list(max: i64) -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop_oneof![
        proptest::collection::vec((0..4i64, -max..max), 0..4),
        // Evenly spaced, and touching: what the program merges.
        (0..4i64, 1..4i64, -max..max)
            .prop_map(|(n, length, step)| { (0..n).map(|i| (length, i * step)).collect() }),
        (0..4i64, 1..3i64).prop_map(|(n, length)| (0..n).map(|i| (length, i * length)).collect()),
    ]
}

fn grow(inner: impl Strategy<Value = Pair> + Clone + 'static) -> impl Strategy<Value = Pair> {
    let one = inner.clone();
    prop_oneof![
        (form(), 0..4i64, one.clone()).prop_map(|(form, n, (t, m))| {
            (Type::contiguous(form, n, &t).unwrap(), Map::blocks(&m, [(0, n)]))
        }),
        (form(), 0..4i64, 0..4i64, -5..6i64, one.clone()).prop_map(|(form, n, l, s, (t, m))| {
            let blocks: Vec<_> = (0..n).map(|i| (i * s * m.extent(), l)).collect();
            (Type::vector(form, n, l, s, &t).unwrap(), Map::blocks(&m, blocks))
        }),
        (form(), 0..4i64, 0..4i64, -40..41i64, one.clone()).prop_map(|(form, n, l, s, (t, m))| {
            let blocks: Vec<_> = (0..n).map(|i| (i * s, l)).collect();
            (Type::hvector(form, n, l, s, &t).unwrap(), Map::blocks(&m, blocks))
        }),
        (form(), list(6), one.clone()).prop_map(|(form, list, (t, m))| {
            let (lengths, at): (Vec<_>, Vec<_>) = list.into_iter().unzip();
            let blocks = at.iter().map(|a| a * m.extent()).zip(lengths.clone());
            let map = Map::blocks(&m, blocks);
            (Type::indexed(form, &lengths, &at, &t).unwrap(), map)
        }),
        (form(), list(40), one.clone()).prop_map(|(form, list, (t, m))| {
            let (lengths, at): (Vec<_>, Vec<_>) = list.into_iter().unzip();
            let map = Map::blocks(&m, at.iter().copied().zip(lengths.clone()));
            (Type::hindexed(form, &lengths, &at, &t).unwrap(), map)
        }),
        (form(), 0..3i64, list(6), one.clone()).prop_map(|(form, length, list, (t, m))| {
            let at: Vec<_> = list.into_iter().map(|x| x.1).collect();
            let map = Map::blocks(&m, at.iter().map(|a| (a * m.extent(), length)));
            (Type::indexed_block(form, length, &at, &t).unwrap(), map)
        }),
        (form(), 0..3i64, list(40), one.clone()).prop_map(|(form, length, list, (t, m))| {
            let at: Vec<_> = list.into_iter().map(|x| x.1).collect();
            let map = Map::blocks(&m, at.iter().map(|&a| (a, length)));
            (Type::hindexed_block(form, length, &at, &t).unwrap(), map)
        }),
        (form(), -9..10i64, -9..40i64, one.clone()).prop_map(|(form, lb, extent, (t, m))| {
            (Type::resized(form, lb, extent, &t).unwrap(), m.resized(lb, extent))
        }),
        one.clone().prop_map(|(t, m)| (Type::dup(&t), m)),
        structure(inner.clone()),
        subarray(inner),
    ]
}

fn structure(inner: impl Strategy<Value = Pair> + 'static) -> impl Strategy<Value = Pair> {
    (form(), proptest::collection::vec((0..3i64, -40..41i64, inner), 0..4)).prop_map(
        |(form, fields)| {
            let mut map = Map::default();
            for (length, at, (_, m)) in &fields {
                for i in 0..*length {
                    map.place(m, at + i * m.extent());
                }
            }
            let lengths: Vec<_> = fields.iter().map(|f| f.0).collect();
            let at: Vec<_> = fields.iter().map(|f| f.1).collect();
            let types: Vec<_> = fields.iter().map(|f| f.2.0.clone()).collect();
            (Type::structure(form, &lengths, &at, &types).unwrap(), map)
        },
    )
}

fn subarray(inner: impl Strategy<Value = Pair> + 'static) -> impl Strategy<Value = Pair> {
    (form(), proptest::collection::vec((1..4i64, 0..4i64, 0..4i64), 1..4), any::<bool>(), inner)
        .prop_map(|(form, shape, c, (t, m))| {
            let shape: Vec<_> = shape
                .into_iter()
                .map(|(size, sub, start)| {
                    let sub = sub.clamp(1, size);
                    (size, sub, start.min(size - sub))
                })
                .collect();
            let sizes: Vec<_> = shape.iter().map(|s| s.0).collect();
            let subsizes: Vec<_> = shape.iter().map(|s| s.1).collect();
            let starts: Vec<_> = shape.iter().map(|s| s.2).collect();
            let order = if c { Order::C } else { Order::Fortran };
            let made = Type::subarray(form, &sizes, &subsizes, &starts, order, &t).unwrap();
            let chosen: Vec<Vec<i64>> = shape.iter().map(|s| (s.2..s.2 + s.1).collect()).collect();
            (made, array(&m, &sizes, &chosen, order))
        })
}

/// The elements of an array with the chosen indices, by walking over all elements.
fn array(child: &Map, sizes: &[i64], chosen: &[Vec<i64>], order: Order) -> Map {
    let mut map = Map::default();
    let total: i64 = sizes.iter().product();
    for position in 0..total {
        let mut rest = position;
        let mut dimensions: Vec<usize> = (0..sizes.len()).collect();
        if order == Order::C {
            dimensions.reverse();
        }
        let is_chosen = dimensions.into_iter().all(|d| {
            let index = rest % sizes[d];
            rest /= sizes[d];
            chosen[d].contains(&index)
        });
        if is_chosen {
            map.place(child, position * child.extent());
        }
    }
    map.resized(0, total * child.extent())
}

fn tree() -> impl Strategy<Value = Pair> {
    leaf()
        .prop_recursive(4, 24, 3, |inner| grow(inner.boxed()).boxed())
        .prop_filter("small enough to walk", |(_, map)| map.entries.len() <= 2000)
}

/// Memory in which `addresses` fit, and the address of displacement 0 in it.
fn memory(addresses: &[i64]) -> (Vec<u8>, i64) {
    let low = addresses.iter().min().copied().unwrap_or(0);
    let high = addresses.iter().max().copied().unwrap_or(0);
    let bytes = (0..high - low + 1).map(|i| (i * 7 + i / 251 + 1) as u8).collect();
    (bytes, -low)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bounds((ty, map) in tree()) {
        prop_assert_eq!(ty.size(), map.entries.iter().map(|e| e.1).sum::<i64>());
        prop_assert_eq!(ty.lb(), map.lb());
        prop_assert_eq!(ty.extent(), map.extent());
        let true_lb = map.entries.iter().map(|e| e.0).min().unwrap_or(0);
        let true_ub = map.entries.iter().map(|e| e.0 + e.1).max().unwrap_or(0);
        prop_assert_eq!((ty.true_lb(), ty.true_ub()), (true_lb, true_ub));
        prop_assert_eq!(ty.elements(), map.entries.len() as i64);
    }

    #[test]
    fn pack_and_unpack((ty, map) in tree(), count in 0..4i64, cuts in any::<[u16; 4]>()) {
        let addresses = map.addresses(count);
        prop_assume!(addresses.len() < 20_000);
        let (memory, origin) = memory(&addresses);
        let expected: Vec<u8> =
            addresses.iter().map(|&a| memory[(a + origin) as usize]).collect();
        let total = expected.len();
        prop_assert_eq!(ty.packed_bytes() * count as usize, total);

        let mut cuts: Vec<usize> = cuts.iter().map(|&c| c as usize % (total + 1)).collect();
        cuts.extend([0, total]);
        cuts.sort_unstable();
        let mut copy = memory.clone();
        // A later entry at the same address wins, so fragments are unpacked in order.
        let mut unpacked = vec![0u8; memory.len()];
        let mut by_hand = vec![0u8; memory.len()];
        for (&a, &byte) in addresses.iter().zip(&expected) {
            by_hand[(a + origin) as usize] = byte;
        }
        let payload = ty.payload(copy.as_mut_ptr().wrapping_offset(origin as isize), count);
        let target = ty.payload(unpacked.as_mut_ptr().wrapping_offset(origin as isize), count);
        prop_assert_eq!(payload.bytes(), total);
        for pair in cuts.windows(2) {
            let mut fragment = vec![0; pair[1] - pair[0]];
            // SAFETY: the memory holds every address of the map.
            unsafe {
                payload.pack(pair[0], &mut fragment);
                target.unpack(pair[0], &fragment);
            }
            prop_assert_eq!(&fragment, &expected[pair[0]..pair[1]]);
        }
        prop_assert_eq!(unpacked, by_hand);
        prop_assert_eq!(copy, memory);
    }

    #[test]
    fn contiguous_is_contiguous((ty, map) in tree(), count in 1..4i64) {
        let addresses = map.addresses(count);
        let one_run = addresses.windows(2).all(|pair| pair[1] == pair[0] + 1);
        match ty.contiguous_bytes(count) {
            Some((offset, bytes)) => {
                prop_assert!(one_run);
                prop_assert_eq!(bytes, addresses.len());
                prop_assert!(bytes == 0 || addresses[0] == offset);
            }
            None => prop_assert!(!one_run, "{:?} is one run and was not seen to be", ty),
        }
    }

    #[test]
    fn counts((ty, map) in tree(), bytes in 0..5000i64) {
        let size = ty.size();
        let count = if size == 0 { (bytes == 0).then_some(0) } else {
            (bytes % size == 0).then_some(bytes / size)
        };
        prop_assert_eq!(ty.count_of(bytes), count);
        if size > 0 {
            let (mut left, mut elements) = (bytes, 0);
            for entry in map.entries.iter().cycle() {
                if left < entry.1 {
                    break;
                }
                left -= entry.1;
                elements += 1;
            }
            prop_assert_eq!(ty.elements_of(bytes), (left == 0).then_some(elements));
            prop_assert_eq!(ty.bytes_of_elements(elements), Some(bytes - left));
        }
    }

    #[test]
    fn external_round_trip((ty, map) in tree(), count in 0..3i64) {
        let addresses = map.addresses(count);
        prop_assume!(addresses.len() < 20_000);
        let (mut memory, origin) = memory(&addresses);
        // Long doubles must be numbers: exponents of all ones and unset first bits are excluded.
        for element in 0..count {
            for entry in map.entries.iter().filter(|e| e.1 == 16) {
                let at = (entry.0 + element * map.extent() + origin) as usize;
                memory[at..at + 16].copy_from_slice(&[0; 16]);
            }
        }
        let mut external = vec![0xee; (ty.external_size() * count) as usize];
        let mut back = vec![0u8; memory.len()];
        // SAFETY: the memory holds every address of the map.
        unsafe {
            let base = memory.as_ptr().wrapping_offset(origin as isize);
            ty.pack_external(base, count, &mut external);
            let base = back.as_mut_ptr().wrapping_offset(origin as isize);
            ty.unpack_external(base, count, &external);
        }
        for &a in &addresses {
            let i = (a + origin) as usize;
            prop_assert_eq!(back[i], memory[i], "at {}", a);
        }
    }

    #[test]
    fn distributed_arrays(
        shape in proptest::collection::vec((1..7i64, 1..4i32, 0..5usize, 1..4i32), 1..4),
        c in any::<bool>(),
        leaf in leaf(),
    ) {
        let order = if c { Order::C } else { Order::Fortran };
        let sizes: Vec<_> = shape.iter().map(|s| s.0).collect();
        let dealt: Vec<(Distribution, i32)> = shape.iter().map(|s| match s.2 {
            0 => (Distribution::None, DEFAULT_LENGTH),
            1 => (Distribution::Block, DEFAULT_LENGTH),
            2 => (Distribution::Cyclic, DEFAULT_LENGTH),
            3 => (Distribution::Cyclic, s.3),
            _ => (Distribution::Block, s.0 as i32),
        }).collect();
        let places: Vec<i32> = shape.iter().zip(&dealt)
            .map(|(s, d)| if d.0 == Distribution::None { 1 } else { s.1 }).collect();
        let size: i32 = places.iter().product();
        let mut seen = 0;
        for rank in 0..size {
            // The place of a rank in a row-major grid, last dimension fastest.
            let mut rest = rank;
            let mut chosen = vec![Vec::new(); sizes.len()];
            for d in (0..sizes.len()).rev() {
                let (place, p) = (i64::from(rest % places[d]), i64::from(places[d]));
                rest /= places[d];
                let n = sizes[d];
                let owner = |i: i64| match dealt[d] {
                    (Distribution::None, _) => 0,
                    (Distribution::Block, DEFAULT_LENGTH) => i / ((n + p - 1) / p),
                    (Distribution::Block, l) => i / i64::from(l),
                    (Distribution::Cyclic, DEFAULT_LENGTH) => i % p,
                    (Distribution::Cyclic, l) => i / i64::from(l) % p,
                };
                chosen[d] = (0..n).filter(|&i| owner(i) == place).collect();
            }
            let ty = Type::darray(
                Form::Int, (size, rank), &sizes, &dealt, &places, order, &leaf.0,
            ).unwrap();
            let map = array(&leaf.1, &sizes, &chosen, order);
            let addresses = map.addresses(1);
            prop_assert_eq!(ty.size() as usize, addresses.len());
            prop_assert_eq!((ty.lb(), ty.extent()), (map.lb(), map.extent()));
            let (memory, origin) = memory(&addresses);
            let mut packed = vec![0; addresses.len()];
            // SAFETY: the memory holds every address of the map.
            unsafe {
                let base = memory.as_ptr().wrapping_offset(origin as isize);
                ty.pack(base, 1, 0, &mut packed);
            }
            let expected: Vec<u8> =
                addresses.iter().map(|&a| memory[(a + origin) as usize]).collect();
            prop_assert_eq!(packed, expected);
            seen += ty.size();
        }
        prop_assert_eq!(seen, leaf.0.size() * sizes.iter().product::<i64>());
    }
}

#[test]
fn a_payload_of_a_plain_array_is_contiguous() {
    let int = predefined(0x209).unwrap();
    let row = Type::contiguous(Form::Int, 10, int).unwrap();
    let rows = Type::vector(Form::Int, 3, 2, 2, &row).unwrap();
    let mut memory = vec![0u8; 4 * 10 * 6 * 2];
    let payload = rows.payload(memory.as_mut_ptr(), 2);
    assert!(matches!(payload, Payload::Contiguous { bytes: 480, .. }));
    assert!(matches!(rows.payload(std::ptr::null_mut(), 0), Payload::Contiguous { bytes: 0, .. }));
}
