//! Who serves which clips, on a virtual clock.
//!
//! A free instance takes the clips that wait, oldest first, at most as many as its batch size. The clips of an
//! inference are neighbours in the order of arrival.

use super::arrivals::Clip;
use super::{Inference, Servers, give_up_at};
use crate::units::Nanos;

/// How many of `clips` an instance takes that is free at `now`: those that have arrived, at most `batch`.
#[must_use]
pub fn taken(clips: &[Clip], now: Nanos, batch: u32) -> u32 {
    let most = clips.iter().take(batch as usize);
    most.take_while(|clip| clip.arrival <= now).map(|_| 1).sum()
}

/// Serves `clips` until all are served or given up. `infer` says how long an inference takes that starts at an instant
/// of the load.
///
/// # Errors
/// The first error of `infer`, beside the inferences before it.
pub fn on_virtual_clock<E>(
    clips: &[Clip],
    deadline: Nanos,
    servers: Servers,
    mut infer: impl FnMut(Nanos) -> Result<Nanos, E>,
) -> (Vec<Inference>, Result<(), E>) {
    let give_up = give_up_at(clips, deadline);
    let mut free = vec![Nanos(0); servers.instances.max(1) as usize];
    let mut inferences = Vec::new();
    let mut waiting = clips;
    while let (Some(oldest), Some(instance)) = (waiting.first(), free.iter_mut().min()) {
        let started = oldest.arrival.max(*instance);
        if started > give_up {
            break;
        }
        let count = taken(waiting, started, servers.batch.max(1));
        match infer(started) {
            Ok(wall) => *instance = Nanos(started.0.saturating_add(wall.0)),
            Err(error) => return (inferences, Err(error)),
        }
        inferences.push(Inference { clips: count, started, completed: *instance });
        waiting = &waiting[count as usize..];
    }
    (inferences, Ok(()))
}
