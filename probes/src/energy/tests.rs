use super::energy_between;

#[test]
fn a_counter_that_wraps_gives_the_energy_between() {
    assert_eq!(energy_between(10, 30, 100), 20);
    assert_eq!(energy_between(90, 5, 100), 15);
}
