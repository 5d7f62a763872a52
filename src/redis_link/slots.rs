//! Reads the answer to `CLUSTER SLOTS`, and computes the slot of a key.

use std::collections::HashSet;

use redis::Value;

use crate::redis_link::address::ServerAddress;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The longest ID of a server; those of Redis have 40 characters.
const MAX_ID: usize = 64;

/// The most servers that a cluster may have; the Redis project advises against more.
pub(crate) const MAX_NODES: usize = 1_000;

/// The answer to `CLUSTER SLOTS`.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) ranges: Vec<Range>,
    /// The IDs of all servers, including replicas, one of which may be the primary next time.
    pub(crate) ids: HashSet<String>,
}

/// A range of slots that one server has, from the first to the last.
#[derive(Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) place: ServerAddress,
}

/// Returns the slot of a key: that of the text between its first braces, if it has any with a text in
/// between.
pub(crate) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(text: &str) -> u16 {
    text.bytes().fold(0, |crc, byte| {
        let crc = crc ^ (u16::from(byte) << 8);
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

/// Reads the answer to `CLUSTER SLOTS` of the server at this address; `None` if it is something else, or no
/// server has any slot. A server without a valid address is left out.
pub(crate) fn read(value: &Value, asked: &ServerAddress) -> Option<Answer> {
    let Value::Array(entries) = value else { return None };
    let mut answer = Answer::default();
    for entry in entries.iter().take(SLOTS.into()) {
        let Value::Array(entry) = entry else { return None };
        let [Value::Int(first), Value::Int(last), servers @ ..] = &**entry else { return None };
        let [Value::Array(primary), ..] = servers else { return None };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        if first > last || last >= SLOTS {
            return None;
        }
        let [host, Value::Int(port), ..] = &**primary else { return None };
        let host = match host {
            Value::Nil => "",
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            _ => return None,
        };
        if let Some(place) = asked.beside(host, u16::try_from(*port).ok()?) {
            answer.ranges.push(Range { first, last, place });
        }
        answer.ids.extend(servers.iter().filter_map(id));
    }
    (!answer.ranges.is_empty()).then_some(answer)
}

/// Returns the ID of a server.
fn id(server: &Value) -> Option<String> {
    let Value::Array(server) = server else { return None };
    let id = match server.get(2)? {
        Value::BulkString(id) => std::str::from_utf8(id).ok()?,
        Value::SimpleString(id) => id,
        _ => return None,
    };
    (1..=MAX_ID).contains(&id.len()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        // As `CLUSTER KEYSLOT` answers; the first is that of the cluster specification.
        assert_eq!(crc16("123456789"), 0x31C3);
        for (key, slot) in [
            ("", 0),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("app:{foo}:{bar}", 12_182),
            ("foo{}{bar}", 8_363),
            ("foo{bar", 15_278),
            ("{}foo", 9_500),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
        let primary = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), primary])
    }

    #[test]
    fn only_answers_that_name_servers_are_taken() {
        let asked = ServerAddress::configured("seed", 7000);
        let read = |entries| read(&Value::Array(entries), &asked);
        let at = |place: &str| asked.read(place).unwrap();
        let good = vec![
            entry(0, 100, text("10.0.0.1"), 6379),
            entry(101, 16_383, Value::Nil, 6380),
            entry(200, 200, text("?"), 6381),
        ];
        let found = read(good).unwrap();
        assert_eq!(found.ids.into_iter().collect::<Vec<_>>(), ["id"]);
        assert_eq!(
            found.ranges,
            [
                Range { first: 0, last: 100, place: at("10.0.0.1:6379") },
                Range { first: 101, last: 16_383, place: at("seed:6380") },
            ]
        );
        let replica = |id: Value| Value::Array(vec![text("b"), Value::Int(1), id]);
        let mut servers = vec![Value::Int(0), Value::Int(1)];
        for id in [text("1"), text("2"), text(""), Value::Nil, text(&"x".repeat(MAX_ID + 1))] {
            servers.push(replica(id));
        }
        servers.extend([Value::Array(vec![]), Value::Nil]);
        let found = read(vec![Value::Array(servers)]).unwrap();
        assert_eq!(found.ids, HashSet::from(["1".to_owned(), "2".to_owned()]));
        for bad in [
            vec![],
            vec![Value::Nil],
            vec![Value::Array(vec![Value::Int(0), Value::Int(1)])],
            vec![entry(5, 4, text("a"), 1)],
            vec![entry(-1, 4, text("a"), 1)],
            vec![entry(0, 16_384, text("a"), 1)],
            vec![entry(0, 1, text("a"), 65_536)],
            vec![entry(0, 1, text("a"), 0)],
            vec![entry(0, 1, text("a b"), 1)],
            vec![entry(0, 1, Value::Int(1), 1)],
            vec![entry(0, 1, text("a"), 1), Value::Okay],
        ] {
            assert!(read(bad.clone()).is_none(), "{bad:?}");
        }
        assert!(super::read(&Value::Okay, &asked).is_none());
    }
}
