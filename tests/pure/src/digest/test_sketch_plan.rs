//! What a sketch's cells are.
use super::bounds::Bounds;
use super::sketch_plan::{MAX_POWER, MAX_RANGES, SketchPlan, Suspects};

fn plan() -> SketchPlan {
    SketchPlan {
        seed: [1, u64::MAX],
        nulls_equal: true,
        keys: 2,
        power: 4,
        bounds: Bounds::new(vec![-7, 0, 5]),
    }
}

#[test]
fn a_plan_comes_back_from_its_bytes() {
    let bytes = plan().to_bytes();
    assert_eq!(SketchPlan::of_bytes(&bytes), Some((plan(), &[][..])));
    for end in 0..bytes.len() {
        assert_eq!(SketchPlan::of_bytes(&bytes[..end]), None);
    }
}

#[test]
fn plans_that_name_no_cells_are_refused() {
    let refused = |change: &dyn Fn(&mut SketchPlan)| {
        let mut plan = plan();
        change(&mut plan);
        assert_eq!(SketchPlan::of_bytes(&plan.to_bytes()), None);
    };
    refused(&|plan| plan.keys = 0);
    refused(&|plan| plan.power = MAX_POWER + 1);
    refused(&|plan| plan.bounds = Bounds::new(vec![0; MAX_RANGES]));
    // The last bound is now below the others.
    let mut bytes = plan().to_bytes();
    let last = bytes.len() - 8;
    bytes[last] = 0x80;
    assert_eq!(SketchPlan::of_bytes(&bytes), None);
}

#[test]
fn a_row_has_a_cell_in_each_table() {
    assert_eq!(plan().cells_of(0x3_0000_0005, Some(4)), [5, 16 + 3, 32 + 2]);
    assert_eq!(plan().cells_of(0, None), [0, 16, 35]);
}

#[test]
fn rows_in_three_differing_cells_are_suspected() {
    let one = vec![0_u8; plan().cells() * 8];
    let mut other = one.clone();
    for cell in [5, 16 + 3, 32, 33, 35] {
        other[cell * 8] = 1;
    }
    let both = [one.clone(), other.clone()].concat();
    let suspects = Suspects::between(plan(), &both).unwrap();
    // A sketch of no rows is empty.
    assert_eq!(Some(suspects.clone()), Suspects::between(plan(), &other));
    assert_eq!(
        Suspects::of_bytes(&suspects.to_bytes()),
        Some(suspects.clone())
    );
    assert_eq!(suspects.runs(), [(0, 2), (3, 4)]);
    assert_eq!(suspects.share(), 3.0 / 4.0 / 256.0);
    assert!(suspects.contain([5, 19, 33]));
    assert!(!suspects.contain([5, 19, 34]));
    assert!(!suspects.contain([5, 20, 33]));
    assert!(!suspects.is_empty());
    assert!(Suspects::between(plan(), &[]).unwrap().is_empty());
    assert!(
        Suspects::between(plan(), &[other.clone(), other].concat())
            .unwrap()
            .is_empty()
    );
    for end in [1, 8, both.len() - 1] {
        assert_eq!(Suspects::between(plan(), &both[..end]), None);
    }
}
