//! What receipts lead to: records are forgotten, sent again, or moved to a new epoch.

use super::{Delivery, News};
use crate::serve::concerns::Concern;
use crate::serve::startup;
use crate::spool::{Behind, Confirmation};
use clipmark_profile::message::{Epoch, Receipt};
use clipmark_service::outcome::in_one_line;

impl Delivery {
    /// Takes a receipt: what is stored is forgotten, what is missing is sent again.
    pub(in crate::serve) fn take_receipt(&mut self, receipt: &Receipt) {
        match self.spool.confirm(receipt) {
            Ok(Confirmation::Accepted { resend }) => {
                let now = self.clock.now().monotonic;
                tracing::debug!(contiguous = receipt.contiguous, ?resend, "removed what a receipt confirmed");
                self.uplink.confirmed(&resend, self.spool.unconfirmed() > 0, now);
            }
            Ok(Confirmation::OtherEpoch) => {
                tracing::info!(epoch = %receipt.epoch, "a receipt of another epoch is ignored");
            }
            Ok(Confirmation::Behind(behind)) => self.begin_epoch(behind),
            Err(error) => self.concern(Concern::Spool, error.to_string()),
        }
        self.confirmed();
    }

    /// Ends an epoch that has a second writer. What is unconfirmed moves to a new one, as do the statuses that name it.
    pub(super) fn begin_epoch(&mut self, behind: Behind) {
        let now = self.clock.now();
        let former = self.spool.epoch();
        let renewed = startup::random_bits().map_err(|error| format!("cannot read random numbers: {error}"));
        let renewed = renewed.and_then(|bits| {
            let fresh = Epoch::from_random(bits);
            self.spool.renew(fresh, now.unix_ms).map_err(|error| in_one_line(&error)).map(|()| fresh)
        });
        match renewed {
            Ok(fresh) => {
                let what = format!(
                    "the state directory of this device was set back, or another device uses a copy of it: {behind}. Epoch \
                     {former} has ended; {} unconfirmed records are sent again under epoch {fresh}. If the directory was \
                     copied to another board, give that board its own device.id",
                    self.spool.unconfirmed()
                );
                self.concern(Concern::SetBack, what);
                self.uplink.restart();
                self.uplink.forgive();
                self.news.extend([News::EpochBegan, News::Info, News::State]);
            }
            Err(error) => {
                self.uplink.pause(now.monotonic);
                self.concern(
                    Concern::Spool,
                    format!("epoch {former} cannot end ({behind}), so no record is sent: {error}"),
                );
            }
        }
    }
}
