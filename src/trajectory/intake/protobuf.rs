//! Reading Protocol Buffers without copying: the wire format alone
//! (<https://protobuf.dev/programming-guides/encoding/>), as much of it as log messages use.

use super::super::varint::Reader;

/// The value of a field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) const fn number(self) -> Option<u64> {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => Some(number),
            _ => None,
        }
    }
}

/// Calls `each` with the number and the value of every field of a message; none when it is none.
pub(crate) fn fields<'a>(
    message: &'a [u8],
    mut each: impl FnMut(u64, Wire<'a>) -> Option<()>,
) -> Option<()> {
    let mut reader = Reader(message);
    while !reader.is_empty() {
        let key = reader.varint()?;
        let value = match key & 7 {
            0 => Wire::Varint(reader.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(reader.array()?)),
            2 => {
                let length = reader.count()?;
                Wire::Bytes(reader.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(reader.array()?)),
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        each(key >> 3, value)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_by_their_kind() {
        let message =
            [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let mut found = Vec::new();
        fields(&message, |number, value| {
            found.push((number, value));
            Some(())
        })
        .unwrap();
        let expected = [
            (1, Wire::Varint(150)),
            (2, Wire::Bytes(b"hi")),
            (3, Wire::Fixed32(1)),
            (4, Wire::Fixed64(2)),
        ];
        assert_eq!(found, expected);
        for cut in [&message[..2], &message[..5], &message[..10], &[0x0b][..], &[0x00, 1]] {
            assert!(fields(cut, |_, _| Some(())).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _read = fields(&bytes, |_, value| { let _text = value.text(); Some(()) });
        }
    }
}
