// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts that the standard or the ABI states in numbers: sizes, contents, representations, errors.

use std::sync::Arc;
use strait_collectives::reduce::{Element, Group};
use strait_mpi::datatype::{
    Class, Combiner, DEFAULT_LENGTH, Distribution, Fault, Form, Order, Type, codes, is_absent,
    match_size, predefined, value_index,
};

const INT: u32 = 0x209;
const DOUBLE: u32 = 0x214;
const LONG: u32 = 0x20a;

fn named(code: u32) -> &'static Arc<Type> {
    predefined(code).unwrap()
}

#[test]
fn sizes_and_extents_of_predefined_types() {
    for (code, size, extent) in [
        (0x243, 1, 1),
        (INT, 4, 4),
        (LONG, 8, 8),
        (DOUBLE, 8, 8),
        (0x220, 16, 16),
        (0x224, 32, 32),
        (0x228, 8, 8),
        (0x229, 12, 16),
        (0x22a, 12, 16),
        (0x22b, 8, 8),
        (0x22c, 6, 8),
        (0x22d, 20, 32),
        (0x23c, 4, 4),
        (0x2e1, 16, 16),
    ] {
        let ty = named(code);
        assert_eq!((ty.size(), ty.extent()), (size, extent), "{ty:?}");
    }
    // The codes from 0x240 on carry log2 of the size in bits 3 to 5.
    for code in codes().filter(|code| (0x240..0x300).contains(code)) {
        assert_eq!(named(code).size(), 1 << (code >> 3 & 7), "{:?}", named(code));
    }
    assert!(predefined(0x200).is_none());
    assert!(predefined(0).is_none());
    assert!(predefined(u32::MAX).is_none());
    assert!(is_absent(0x2e2) && predefined(0x2e2).is_none());
    assert!(!is_absent(INT));
}

#[test]
fn what_reductions_see() {
    let basic = named(0x219).basic().unwrap();
    assert_eq!((basic.element, basic.group), (Element::I32, Group::FortranInteger));
    let pairs = Type::contiguous(Form::Int, 5, named(0x229)).unwrap();
    assert_eq!(pairs.basic(), named(0x229).basic());
    assert_eq!((pairs.basic_count(), pairs.elements()), (Some(5), 10));
    let types = [named(INT).clone(), named(DOUBLE).clone()];
    let mixed = Type::structure(Form::Int, &[1, 1], &[0, 8], &types).unwrap();
    assert_eq!(mixed.basic(), None);
    let unmixed = Type::structure(Form::Int, &[1, 0], &[0, 8], &types).unwrap();
    assert_eq!(unmixed.basic(), named(INT).basic());
}

/// Combiner, integers, addresses, large counts and the number of types.
fn is(ty: &Type, combiner: Combiner, integers: &[i32], addresses: &[i64], counts: &[i64]) {
    let contents = ty.contents();
    assert_eq!(ty.combiner(), combiner);
    assert_eq!(contents.integers, integers, "{combiner:?}");
    assert_eq!(contents.addresses, addresses, "{combiner:?}");
    assert_eq!(contents.counts, counts, "{combiner:?}");
    let types = usize::from(combiner != Combiner::Named);
    assert!(contents.types.len() >= types && contents.types.iter().all(|t| t == named(INT)));
}

#[test]
fn contents_of_both_forms() {
    let int = named(INT);
    let (small, large) = (Form::Int, Form::Large);
    is(int, Combiner::Named, &[], &[], &[]);
    is(&Type::dup(int), Combiner::Dup, &[], &[], &[]);
    let ty = |form| Type::contiguous(form, 3, int).unwrap();
    is(&ty(small), Combiner::Contiguous, &[3], &[], &[]);
    is(&ty(large), Combiner::Contiguous, &[], &[], &[3]);
    let ty = |form| Type::vector(form, 3, 2, 5, int).unwrap();
    is(&ty(small), Combiner::Vector, &[3, 2, 5], &[], &[]);
    is(&ty(large), Combiner::Vector, &[], &[], &[3, 2, 5]);
    let ty = |form| Type::hvector(form, 3, 2, 50, int).unwrap();
    is(&ty(small), Combiner::Hvector, &[3, 2], &[50], &[]);
    is(&ty(large), Combiner::Hvector, &[], &[], &[3, 2, 50]);
    let ty = |form| Type::indexed(form, &[1, 0], &[4, 6], int).unwrap();
    is(&ty(small), Combiner::Indexed, &[2, 1, 0, 4, 6], &[], &[]);
    is(&ty(large), Combiner::Indexed, &[], &[], &[2, 1, 0, 4, 6]);
    let ty = |form| Type::hindexed(form, &[1, 0], &[4, 6], int).unwrap();
    is(&ty(small), Combiner::Hindexed, &[2, 1, 0], &[4, 6], &[]);
    is(&ty(large), Combiner::Hindexed, &[], &[], &[2, 1, 0, 4, 6]);
    let ty = |form| Type::indexed_block(form, 2, &[4, 6], int).unwrap();
    is(&ty(small), Combiner::IndexedBlock, &[2, 2, 4, 6], &[], &[]);
    is(&ty(large), Combiner::IndexedBlock, &[], &[], &[2, 2, 4, 6]);
    let ty = |form| Type::hindexed_block(form, 2, &[4, 6], int).unwrap();
    is(&ty(small), Combiner::HindexedBlock, &[2, 2], &[4, 6], &[]);
    is(&ty(large), Combiner::HindexedBlock, &[], &[], &[2, 2, 4, 6]);
    let types = [int.clone(), int.clone()];
    let ty = |form| Type::structure(form, &[1, 2], &[0, 8], &types).unwrap();
    is(&ty(small), Combiner::Struct, &[2, 1, 2], &[0, 8], &[]);
    is(&ty(large), Combiner::Struct, &[], &[], &[2, 1, 2, 0, 8]);
    let ty = |form| Type::resized(form, -4, 12, int).unwrap();
    is(&ty(small), Combiner::Resized, &[], &[-4, 12], &[]);
    is(&ty(large), Combiner::Resized, &[], &[], &[-4, 12]);
    let ty = |form| Type::subarray(form, &[4, 5], &[2, 3], &[1, 2], Order::C, int).unwrap();
    is(&ty(small), Combiner::Subarray, &[2, 4, 5, 2, 3, 1, 2, 12], &[], &[]);
    is(&ty(large), Combiner::Subarray, &[2, 12], &[], &[4, 5, 2, 3, 1, 2]);
    let dealt = [(Distribution::Block, DEFAULT_LENGTH), (Distribution::Cyclic, 2)];
    let ty =
        |form| Type::darray(form, (6, 4), &[4, 5], &dealt, &[2, 3], Order::Fortran, int).unwrap();
    is(
        &ty(small),
        Combiner::Darray,
        &[6, 4, 2, 4, 5, 17, 18, DEFAULT_LENGTH, 2, 2, 3, 15],
        &[],
        &[],
    );
    is(&ty(large), Combiner::Darray, &[6, 4, 2, 17, 18, DEFAULT_LENGTH, 2, 2, 3, 15], &[], &[4, 5]);
}

#[test]
fn fortran_kinds() {
    let real = Type::f90_real(Some(15), Some(300)).unwrap();
    assert_eq!((real.size(), real.combiner()), (8, Combiner::F90Real));
    assert_eq!(real.contents().integers, [15, 300]);
    assert_eq!(Type::f90_real(Some(6), None).unwrap().contents().integers, [6, -32766]);
    assert_eq!(Type::f90_complex(Some(6), Some(30)).unwrap().size(), 8);
    assert_eq!(Type::f90_integer(4).unwrap().size(), 2);
    assert_eq!(Type::f90_integer(39), Err(Fault::Argument));
    assert_eq!(Type::f90_real(None, None), Err(Fault::Argument));
    assert_eq!(Type::f90_real(Some(40), None), Err(Fault::Argument));
}

#[test]
fn faults() {
    let int = named(INT);
    assert_eq!(Type::contiguous(Form::Int, -1, int), Err(Fault::Count));
    assert_eq!(Type::vector(Form::Int, 1, -1, 1, int), Err(Fault::Count));
    assert_eq!(Type::indexed(Form::Int, &[1, -1], &[0, 0], int), Err(Fault::Count));
    assert_eq!(Type::contiguous(Form::Large, i64::MAX, int), Err(Fault::Overflow));
    assert_eq!(Type::hvector(Form::Large, 3, 1, i64::MAX, int), Err(Fault::Overflow));
    assert_eq!(Type::resized(Form::Large, i64::MAX, 1, int), Err(Fault::Overflow));
    let subarray = |sizes, subsizes, starts| {
        Type::subarray(Form::Int, &[sizes], &[subsizes], &[starts], Order::C, int).err()
    };
    assert_eq!(subarray(4, 4, 0), None);
    for (size, subsize, start) in [(4, 5, 0), (4, 4, 1), (4, 0, 0), (4, 1, -1), (0, 0, 0)] {
        assert_eq!(subarray(size, subsize, start), Some(Fault::Argument));
    }
    assert_eq!(Type::subarray(Form::Int, &[], &[], &[], Order::C, int), Err(Fault::Argument));
    let none = [(Distribution::None, DEFAULT_LENGTH)];
    let darray = |size, places| {
        Type::darray(Form::Int, (size, 0), &[4], &none, &[places], Order::C, int).err()
    };
    assert_eq!(darray(1, 1), None);
    assert_eq!(darray(2, 2), Some(Fault::Argument));
    assert_eq!(darray(3, 1), Some(Fault::Argument));
}

#[test]
fn old_markers_bound_a_struct() {
    let types = [named(0x300).clone(), named(INT).clone(), named(0x301).clone()];
    let ty = Type::structure(Form::Int, &[1, 1, 1], &[-4, 0, 12], &types).unwrap();
    assert_eq!((ty.lb(), ty.ub(), ty.size(), ty.true_extent()), (-4, 12, 4, 4));
}

fn external(code: u32, native: &[u8]) -> Vec<u8> {
    let ty = named(code);
    let mut bytes = vec![0; ty.external_size() as usize];
    // SAFETY: each caller gives one element.
    unsafe { ty.pack_external(native.as_ptr(), 1, &mut bytes) };
    let mut back = vec![0; native.len()];
    // SAFETY: as above.
    unsafe { ty.unpack_external(back.as_mut_ptr(), 1, &bytes) };
    assert_eq!(back, native, "{ty:?} comes back");
    bytes
}

#[test]
fn external_representations() {
    assert_eq!(external(INT, &1i32.to_ne_bytes()), [0, 0, 0, 1]);
    assert_eq!(external(LONG, &(-2i64).to_ne_bytes()), [0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(external(0x20b, &(-2i64).to_ne_bytes())[..2], [0xff, 0xff]);
    assert_eq!(external(0x23c, &0x20acu32.to_ne_bytes()), [0x20, 0xac]);
    assert_eq!(external(DOUBLE, &1.0f64.to_ne_bytes()), 1.0f64.to_be_bytes());
    let complex = [1.0f32.to_ne_bytes(), 2.0f32.to_ne_bytes()].concat();
    assert_eq!(external(0x212, &complex), [1.0f32.to_be_bytes(), 2.0f32.to_be_bytes()].concat());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn long_double_is_a_quad_outside() {
    let x87 = |top: u16, significand: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&significand.to_le_bytes());
        bytes[8..10].copy_from_slice(&top.to_le_bytes());
        bytes
    };
    // Sign and exponent, the fraction's first bytes.
    assert_eq!(external(0x220, &x87(0x3fff, 1 << 63))[..3], [0x3f, 0xff, 0]);
    assert_eq!(external(0x220, &x87(0xbfff, 3 << 62))[..3], [0xbf, 0xff, 0x80]);
    external(0x220, &x87(0x4005, 0xfedc_ba98_7654_3211));
    external(0x220, &x87(0x7fff, 1 << 63));
    external(0x220, &x87(0x7fff, 3 << 62));
    external(0x220, &x87(0, 0));
    external(0x220, &x87(0, 12345));
    // One third needs rounding: 112 bits of fraction to 63, the bits lost are more than a half.
    let third = 0x3ffd_5555_5555_5555_5555_5555_5555_5555u128;
    let mut native = [0u8; 16];
    // SAFETY: one element.
    unsafe { named(0x220).unpack_external(native.as_mut_ptr(), 1, &third.to_be_bytes()) };
    assert_eq!(native, x87(0x3ffd, 0xaaaa_aaaa_aaaa_aaab));
}

#[test]
fn sizes_are_matched_and_pairs_are_found() {
    for (class, sizes) in [
        (Class::Logical, vec![1, 2, 4, 8, 16]),
        (Class::Integer, vec![1, 2, 4, 8, 16]),
        (Class::Real, vec![4, 8]),
        (Class::Complex, vec![8, 16]),
    ] {
        for size in 0..40 {
            let code = match_size(class, size);
            assert_eq!(code.is_some(), sizes.contains(&size), "{class:?} {size}");
            assert!(code.is_none_or(|code| named(code).size() == size));
        }
    }
    assert_eq!(value_index(DOUBLE, INT), Some(0x229));
    assert_eq!(value_index(DOUBLE, DOUBLE), None);
    for pair in codes().filter(|&c| named(c).basic().is_some_and(|b| b.group == Group::Pair)) {
        let found = codes().any(|v| codes().any(|i| value_index(v, i) == Some(pair)));
        assert!(found, "{:?}", named(pair));
    }
}
