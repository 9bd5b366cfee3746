//! Requests and cancellations as messages. Pure.

use super::target::command_id;
use clipmark_profile::codec::Encoding;
use clipmark_profile::message::{NoArguments, Payload};
use clipmark_profile::plan::{Limits, Request};
use clipmark_profile::topics::{CommandId, CommandLeaf, DeviceId, Operation, OperationName, Topic};
use clipmark_service::mqtt::Message;
use std::error::Error;
use std::time::Duration;

/// For so long a cancel waits for a device that is away.
const CANCEL_EXPIRY: Duration = Duration::from_secs(3600);

/// What devices are asked for, under one command id.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What is to be done.
    pub operation: Operation,
    /// The id under which devices answer.
    pub command: CommandId,
    /// A device that comes back only after so long does not start.
    pub deadline: Duration,
    payload: Vec<u8>,
}

/// Why something cannot be asked for.
pub type AskError = Box<dyn Error + Send + Sync>;

impl Ask {
    /// A run, under a new command id.
    ///
    /// # Errors
    /// A request that no device would take: devices' own limits may be lower than those that it is held to.
    pub fn run(request: &Request, deadline: Duration) -> Result<Self, AskError> {
        request.validate(&Limits::default())?;
        let payload = request.to_bytes()?;
        Ok(Self { operation: Operation::Run, command: command_id(), deadline, payload })
    }

    /// An operation without arguments, under a new command id.
    ///
    /// # Errors
    /// None that is known.
    pub fn plain(operation: Operation, deadline: Duration) -> Result<Self, AskError> {
        let payload = NoArguments {}.to_bytes()?;
        Ok(Self { operation, command: command_id(), deadline, payload })
    }

    /// The message that asks `device`.
    #[must_use]
    pub fn to(&self, device: &DeviceId) -> Message {
        Message {
            topic: Topic::command(device, self.operation, &self.command, CommandLeaf::Request).to_string(),
            payload: self.payload.clone(),
            retain: false,
            content_type: Encoding::Json.content_type(),
            expiry: Some(self.deadline),
            correlation: None,
        }
    }
}

/// The message that gives a command up on one device.
#[must_use]
pub fn cancellation(device: &DeviceId, operation: OperationName, command: &CommandId) -> Message {
    Message {
        topic: Topic::command(device, operation, command, CommandLeaf::Cancel).to_string(),
        payload: Vec::new(),
        retain: false,
        content_type: Encoding::Json.content_type(),
        expiry: Some(CANCEL_EXPIRY),
        correlation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_expires_and_one_that_no_device_takes_is_refused() {
        let ask = Ask::run(&Request::default(), Duration::from_secs(60)).unwrap();
        let message = ask.to(&"orin".parse().unwrap());
        assert_eq!(message.topic, format!("clipmark/v1/d/orin/cmd/run/{}/req", ask.command));
        assert_eq!((message.expiry, message.retain), (Some(Duration::from_secs(60)), false));
        let endless = Request { batch_sizes: vec![1 << 30], ..Request::default() };
        assert!(Ask::run(&endless, Duration::from_secs(60)).unwrap_err().to_string().contains("batch_sizes"));
    }
}
