//! The program as a person calls it. That it is a test of the package has it built with the others: `./test` runs it.

use std::process::{Command, Output};

fn sim(words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_leasehold-sim");
    Command::new(program)
        .args(words)
        .output()
        .expect("the simulator starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn seeds_are_counted() {
    let output = sim(&["--seeds", "7..10", "--threads", "1"]);
    assert!(output.status.success(), "{}", out(&output));
    assert!(out(&output).starts_with("3 seeds, "), "{}", out(&output));
}

#[test]
fn a_seed_replays_the_same() {
    let [first, second] = [(); 2].map(|()| out(&sim(&["--seed", "42", "--log"])));
    assert!(first.ends_with("green\n"), "{first}");
    assert!(first == second, "two logs of one seed differ");
}

#[test]
fn a_word_that_it_does_not_know_is_refused() {
    let output = sim(&["--seed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: "));
}
