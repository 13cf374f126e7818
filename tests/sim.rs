//! The simulator: N cores in a simulated world, faults, invariants after every event.

mod sim {
    mod directed;
    mod etcd;
    mod host;
    mod mutants;
    mod swarm;
    mod world;
}
