//! What the stand-in's builder writes and its runtime reads: a text with a checksum.

use crate::onnx::{Extent, Graph, Node, Value};

/// The least, preferred and greatest extents of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) name: String,
    /// By `OptProfileSelector`: minimum, optimum, maximum.
    pub(crate) extents: [Vec<i64>; 3],
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) version: i32,
    pub(crate) detailed: bool,
    pub(crate) graph: Graph,
    pub(crate) ranges: Vec<Range>,
}

fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn list(extents: &[i64]) -> String {
    extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn parse_list(text: &str) -> Option<Vec<i64>> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
}

fn shape(value: &Value) -> String {
    let extent = |extent: &Extent| match extent {
        Extent::Fixed(size) => size.to_string(),
        Extent::Symbol(name) => format!("'{name}"),
    };
    value.shape.iter().map(extent).collect::<Vec<_>>().join(",")
}

fn parse_shape(text: &str) -> Option<Vec<Extent>> {
    let extent = |part: &str| match part.strip_prefix('\'') {
        Some(name) => Some(Extent::Symbol(name.to_owned())),
        None => part.parse().ok().map(Extent::Fixed),
    };
    text.split(',').filter(|part| !part.is_empty()).map(extent).collect()
}

impl Plan {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut text = format!("FAKEPLAN\t{}\t{}\n", self.version, u8::from(self.detailed));
        for (kind, values) in [("input", &self.graph.inputs), ("output", &self.graph.outputs)] {
            for value in values {
                let copies = value.copies.as_deref().unwrap_or_default();
                text += &format!("{kind}\t{}\t{}\t{}\t{copies}\n", value.name, value.element, shape(value));
            }
        }
        for node in &self.graph.nodes {
            text += &format!("layer\t{}\t{}\n", node.name, node.operator);
        }
        for range in &self.ranges {
            let [min, opt, max] = &range.extents;
            text += &format!("range\t{}\t{}\t{}\t{}\n", range.name, list(min), list(opt), list(max));
        }
        let sum = checksum(&text);
        text += &format!("sum\t{sum:016x}\n");
        text.into_bytes()
    }

    /// `None` for anything that [`Plan::write`] did not produce, or that was changed since.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let body = text.rfind("sum\t")?;
        if text[body..] != format!("sum\t{:016x}\n", checksum(&text[..body])) {
            return None;
        }
        let mut lines = text[..body].lines();
        let head: Vec<&str> = lines.next()?.split('\t').collect();
        let ["FAKEPLAN", version, detailed] = head[..] else { return None };
        let mut plan = Self {
            version: version.parse().ok()?,
            detailed: detailed == "1",
            graph: Graph::default(),
            ranges: Vec::new(),
        };
        for line in lines {
            plan.read_line(&line.split('\t').collect::<Vec<_>>())?;
        }
        Some(plan)
    }

    fn read_line(&mut self, parts: &[&str]) -> Option<()> {
        match parts {
            [kind @ ("input" | "output"), name, element, shape, copies] => {
                let value = Value {
                    name: (*name).to_owned(),
                    element: element.parse().ok()?,
                    shape: parse_shape(shape)?,
                    copies: (!copies.is_empty()).then(|| (*copies).to_owned()),
                };
                let values = if *kind == "input" { &mut self.graph.inputs } else { &mut self.graph.outputs };
                values.push(value);
            }
            ["layer", name, operator] => {
                let (name, operator) = ((*name).to_owned(), (*operator).to_owned());
                self.graph.nodes.push(Node { name, operator, edge: None });
            }
            ["range", name, min, opt, max] => self.ranges.push(Range {
                name: (*name).to_owned(),
                extents: [parse_list(min)?, parse_list(opt)?, parse_list(max)?],
            }),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let value = |name: &str, shape, copies| Value { name: name.into(), element: 1, shape, copies };
        let shape = vec![Extent::Symbol("B".into()), Extent::Fixed(4)];
        Plan {
            version: 8502,
            detailed: true,
            graph: Graph {
                inputs: vec![value("x", shape.clone(), None)],
                outputs: vec![value("y", shape, Some("x".into()))],
                nodes: vec![Node { name: "n".into(), operator: "Identity".into(), edge: None }],
            },
            ranges: vec![Range { name: "x".into(), extents: [vec![1, 4], vec![2, 4], vec![8, 4]] }],
        }
    }

    #[test]
    fn a_plan_is_read_back_as_written() {
        assert_eq!(Plan::read(&plan().write()), Some(plan()));
    }

    #[test]
    fn a_changed_or_truncated_plan_is_refused() {
        let mut bytes = plan().write();
        assert_eq!(Plan::read(&bytes[..bytes.len() - 1]), None);
        bytes[12] ^= 1;
        assert_eq!(Plan::read(&bytes), None);
    }
}
