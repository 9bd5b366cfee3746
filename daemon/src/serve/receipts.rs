//! What receipts lead to: records are forgotten, sent again, or moved to a new epoch.

use super::server::{Concern, Server};
use super::startup;
use crate::session::SessionEvent;
use crate::spool::{Behind, Confirmation};
use clipmark_profile::message::{Epoch, Receipt};
use clipmark_profile::topics::CommandId;
use clipmark_service::outcome::in_one_line;

/// Takes a receipt: what is stored is forgotten, what is missing is sent again.
pub(super) fn take(server: &mut Server, receipt: &Receipt) {
    match server.spool.confirm(receipt) {
        Ok(Confirmation::Accepted { resend }) => {
            let now = server.clock.now().monotonic;
            tracing::debug!(contiguous = receipt.contiguous, ?resend, "removed what a receipt confirmed");
            server.uplink.confirmed(&resend, server.spool.unconfirmed() > 0, now);
        }
        Ok(Confirmation::OtherEpoch) => {
            tracing::info!(epoch = %receipt.epoch, "a receipt of another epoch is ignored");
        }
        Ok(Confirmation::Behind(behind)) => begin_epoch(server, behind),
        Err(error) => server.concern(Concern::Spool, error.to_string()),
    }
    server.confirmed();
}

/// Ends an epoch that has a second writer. What is unconfirmed moves to a new one, as do the statuses that name it.
pub(super) fn begin_epoch(server: &mut Server, behind: Behind) {
    let now = server.clock.now();
    let former = server.spool.epoch();
    let renewed = startup::random_bits().map_err(|error| format!("cannot read random numbers: {error}"));
    let renewed = renewed.and_then(|bits| {
        let fresh = Epoch::from_random(bits);
        server.spool.renew(fresh, now.unix_ms).map_err(|error| in_one_line(&error)).map(|()| fresh)
    });
    match renewed {
        Ok(fresh) => {
            let what = format!(
                "the state directory of this device was set back, or another device uses a copy of it: {behind}. Epoch \
                 {former} has ended; {} unconfirmed records are sent again under epoch {fresh}. If the directory was \
                 copied to another board, give that board its own device.id",
                server.spool.unconfirmed()
            );
            server.concern(Concern::SetBack, what);
            server.uplink.restart();
            server.uplink.forgive();
            move_statuses(server);
            server.publish_info();
            server.publish_state();
        }
        Err(error) => {
            server.uplink.pause(now.monotonic);
            server.concern(
                Concern::Spool,
                format!("epoch {former} cannot end ({behind}), so no record is sent: {error}"),
            );
        }
    }
}

/// Has statuses name the records where they are now.
pub(super) fn move_statuses(server: &mut Server) {
    let epoch = server.spool.epoch();
    let elsewhere: Vec<CommandId> = server.session.with_records_outside(epoch).cloned().collect();
    for command in elsewhere {
        if let Some(records) = server.spool.records_of(&command) {
            server.dispatch(SessionEvent::Moved { command, epoch, records });
        }
    }
}
