//! Receipts on their way to the broker: one device at a time, so that none waits for another's. Pure.

use clipmark_profile::message::Receipt;
use clipmark_profile::topics::DeviceId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// While a device's messages pile up its receipts are held back, at most for so long: of those of one spool only the
/// newest is sent, and devices wait longer than this before they send anything again.
const HELD: Duration = Duration::from_secs(5);

/// Epochs of one device of which a receipt waits. A board has one, and two around the moment in which it begins another.
const EPOCHS: usize = 4;

#[derive(Debug)]
struct OfDevice {
    since: Instant,
    /// The newest receipt of each epoch, in the order in which the epochs came.
    receipts: VecDeque<Receipt>,
}

/// Receipts that are to be published.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    of: BTreeMap<DeviceId, OfDevice>,
    /// Whose turn it is next; each device of `of` once.
    turns: VecDeque<DeviceId>,
}

impl Receipts {
    /// Takes the newest receipt of a spool in the place of an earlier one. Of a device with very many epochs the oldest
    /// are forgotten: what they covered is sent again.
    pub(super) fn put(&mut self, device: DeviceId, receipt: Receipt, now: Instant) {
        let of = self.of.entry(device.clone()).or_insert_with(|| {
            self.turns.push_back(device);
            OfDevice { since: now, receipts: VecDeque::new() }
        });
        match of.receipts.iter_mut().find(|known| known.epoch == receipt.epoch) {
            Some(known) => *known = receipt,
            None => {
                of.receipts.push_back(receipt);
                if of.receipts.len() > EPOCHS {
                    of.receipts.pop_front();
                }
            }
        }
    }

    /// The next one. `piles_up` says of which devices more is about to be stored.
    pub(super) fn next(
        &mut self,
        piles_up: impl Fn(&DeviceId) -> bool,
        now: Instant,
    ) -> Option<(DeviceId, Receipt)> {
        for _ in 0..self.turns.len() {
            let device = self.turns.pop_front()?;
            let Some(of) = self.of.get_mut(&device) else { continue };
            if piles_up(&device) && now.duration_since(of.since) < HELD {
                self.turns.push_back(device);
                continue;
            }
            let receipt = of.receipts.pop_front();
            if of.receipts.is_empty() {
                self.of.remove(&device);
            } else {
                self.turns.push_back(device.clone());
            }
            return receipt.map(|receipt| (device, receipt));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clipmark_profile::message::Epoch;

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    fn receipt(epoch: u64, contiguous: u64) -> Receipt {
        Receipt::new(Epoch(epoch), contiguous, Vec::new())
    }

    #[test]
    fn a_device_with_a_thousand_epochs_takes_one_turn_like_any_other() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        (0..1000).for_each(|epoch| receipts.put(device("bad"), receipt(epoch, 1), now));
        receipts.put(device("good"), receipt(1, 7), now);
        let order: Vec<String> = std::iter::from_fn(|| receipts.next(|_| false, now))
            .map(|(device, receipt)| format!("{device} {}", receipt.epoch.0))
            .collect();
        assert_eq!(order, ["bad 996", "good 1", "bad 997", "bad 998", "bad 999"]);
    }

    #[test]
    fn what_piles_up_holds_back_its_own_receipts_and_for_a_while_only() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        receipts.put(device("bad"), receipt(1, 1), now);
        receipts.put(device("bad"), receipt(1, 9), now);
        receipts.put(device("good"), receipt(1, 7), now);
        let bad = device("bad");
        let piles_up = |device: &DeviceId| *device == bad;
        assert_eq!(receipts.next(piles_up, now).map(|(device, _)| device), Some(device("good")));
        assert_eq!(receipts.next(piles_up, now).map(|(device, _)| device), None);
        let (of, held) = receipts.next(piles_up, now + HELD).unwrap();
        assert_eq!((of, held.contiguous), (bad.clone(), 9));
    }
}
