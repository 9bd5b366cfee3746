//! Which devices a command goes to.

use super::roster::Roster;
use super::unique;
use clipmark_profile::topics::{CommandId, DeviceId, GroupId};

/// Which devices, as the command line has it.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// These devices, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub device: Vec<DeviceId>,
    /// The members of this group
    #[arg(long)]
    pub group: Option<GroupId>,
    /// Only devices whose board model contains this text
    #[arg(long)]
    pub board: Option<String>,
    /// Every device that the broker knows
    #[arg(long)]
    pub all: bool,
}

impl Target {
    /// The devices of `roster` that are meant. Devices named one by one need not be in it.
    #[must_use]
    pub fn resolve(&self, roster: &Roster) -> Vec<DeviceId> {
        if !self.device.is_empty() {
            return self.device.clone();
        }
        let of_board = |board: &Option<String>| {
            let wanted = self.board.as_deref().map(str::to_lowercase);
            wanted.is_some_and(|wanted| {
                board.as_deref().is_some_and(|board| board.to_lowercase().contains(&wanted))
            })
        };
        roster
            .iter()
            .filter(|(_, entry)| {
                let info = entry.info.as_ref();
                let in_group = self.group.as_ref();
                self.all
                    || info.is_some_and(|info| of_board(&info.board))
                    || in_group.is_some_and(|group| info.is_some_and(|info| info.groups.contains(group)))
            })
            .map(|(device, _)| device.clone())
            .collect()
    }
}

/// A new command's id.
#[must_use]
pub fn command_id() -> CommandId {
    format!("c-{}", unique()).parse().expect("hexadecimal digits and hyphens make an identifier")
}
