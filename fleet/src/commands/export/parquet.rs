//! Points as a Parquet file: one row group per so many rows, Snappy, every column optional.

use super::columns::{COLUMNS, Cell, Kind, row};
use crate::store::PointRow;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use std::io::Write;
use std::sync::Arc;

/// Rows in a row group: what a reader must hold at once.
const GROUP: usize = 65_536;

fn schema() -> Result<Arc<Type>, ParquetError> {
    let field = |&(name, kind): &(&str, Kind)| {
        let physical = match kind {
            Kind::Text => Physical::BYTE_ARRAY,
            Kind::Int => Physical::INT64,
            Kind::Real => Physical::DOUBLE,
            Kind::Flag => Physical::BOOLEAN,
        };
        let logical = (kind == Kind::Text).then_some(LogicalType::String);
        let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        builder.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = COLUMNS.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("point").with_fields(fields).build().map(Arc::new)
}

/// Writes one column: the values that there are, and for every row whether there is one.
fn write<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    cells: &[Cell<'_>],
    value: impl Fn(&Cell<'_>) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let all: Vec<Option<T::T>> = cells.iter().map(value).collect();
    let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<T::T> = all.into_iter().flatten().collect();
    writer.typed::<T>().write_batch(&present, Some(&levels), None).map(drop)
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: &[Cell<'_>],
) -> Result<(), ParquetError> {
    match kind {
        Kind::Text => write::<ByteArrayType>(writer, cells, |cell| match cell {
            Cell::Text(text) => Some(ByteArray::from(text.as_bytes().to_vec())),
            _ => None,
        }),
        Kind::Int => write::<Int64Type>(writer, cells, |cell| match cell {
            Cell::Int(value) => Some(*value),
            _ => None,
        }),
        Kind::Real => write::<DoubleType>(writer, cells, |cell| match cell {
            Cell::Real(value) => Some(*value),
            _ => None,
        }),
        Kind::Flag => write::<BoolType>(writer, cells, |cell| match cell {
            Cell::Flag(value) => Some(*value),
            _ => None,
        }),
    }
}

/// Writes `rows` to `out`.
pub(super) fn write_points<W: Write + Send>(out: W, rows: &[PointRow]) -> Result<(), ParquetError> {
    let creator = format!("clipmark-fleet {}", env!("CARGO_PKG_VERSION"));
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_created_by(creator).build();
    let mut file = SerializedFileWriter::new(out, schema()?, Arc::new(properties))?;
    for rows in rows.chunks(GROUP) {
        let table: Vec<Vec<Cell<'_>>> = rows.iter().map(row).collect();
        let mut group = file.next_row_group()?;
        let mut index = 0;
        while let Some(mut writer) = group.next_column()? {
            let cells: Vec<Cell<'_>> = table.iter().map(|row| row[index].clone()).collect();
            write_column(&mut writer, COLUMNS[index].1, &cells)?;
            writer.close()?;
            index += 1;
        }
        group.close()?;
    }
    file.close().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{PointFigures, ProfileId, ProfileRows};
    use clipmark_profile::example;
    use clipmark_profile::figures::Figure;
    use clipmark_profile::identity::Identity;
    use clipmark_profile::point::PointId;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    /// The points of the example's first variant, as rows; every second one lacks what may be missing.
    fn rows() -> Vec<PointRow> {
        let profile = example::profile();
        let variant = &ProfileRows::from(&profile).variants[0];
        let row = |(index, figures): (usize, &PointFigures)| {
            let is_known = index % 2 == 0;
            let mut figures = figures.clone();
            let energy = figures.figures.get(Figure::EnergyPerFrame).filter(|_| is_known);
            figures.figures.set(Figure::EnergyPerFrame, energy);
            figures.throttled = is_known.then_some(false);
            PointRow {
                profile: ProfileId(index as i64),
                device: "orin-7".parse().unwrap(),
                received_unix_ms: 1_800_000_000_000,
                started_unix_ms: 1_799_999_999_000,
                clipmark: "0.1.0".into(),
                board: is_known.then(|| "Jetson \u{2713}, \"Nano\"".into()),
                l4t: None,
                kernel: None,
                identity: Identity::of(&profile, PointId { variant: 0, shape: figures.shape }).unwrap(),
                backend_version: None,
                figures,
            }
        };
        variant.points.iter().enumerate().map(row).collect()
    }

    fn cell_of(field: &Field) -> Cell<'static> {
        match field {
            Field::Null => Cell::Null,
            Field::Str(text) => Cell::Text(text.clone().into()),
            Field::Long(value) => Cell::Int(*value),
            Field::Double(value) => Cell::Real(*value),
            Field::Bool(value) => Cell::Flag(*value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_value_and_every_absence_comes_back() {
        let (rows, file) = (rows(), tempfile::NamedTempFile::new().unwrap());
        write_points(file.reopen().unwrap(), &rows).unwrap();
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        let read: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), rows.len());
        for (read, written) in read.iter().zip(&rows) {
            let names: Vec<&str> = read.get_column_iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
            let cells: Vec<Cell<'_>> = read.get_column_iter().map(|(_, field)| cell_of(field)).collect();
            assert_eq!(cells, row(written));
        }
    }

    #[test]
    fn many_rows_make_several_groups_and_none_makes_a_file() {
        let one = rows();
        let many: Vec<PointRow> = one.iter().cycle().take(GROUP + 10).cloned().collect();
        for (rows, groups) in [(many.as_slice(), 2), (&[], 0)] {
            let file = tempfile::NamedTempFile::new().unwrap();
            write_points(file.reopen().unwrap(), rows).unwrap();
            let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
            assert_eq!(reader.metadata().num_row_groups(), groups);
            assert_eq!(reader.metadata().file_metadata().num_rows(), rows.len() as i64);
        }
    }
}
