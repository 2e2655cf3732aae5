//! Small weights on disk, whole weights in memory: folds `DequantizeLinear` of stored int8 into f32 initializers.
//!
//! A bundle's `model.onnx` stores its weights as int8 with a scale a channel, a quarter of the size. ONNX Runtime folds
//! them by itself; tract 0.23 does not fold a decoded constant that grows past 4 MiB and would decode on every run.

use std::collections::HashMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

/// Replaces every `DequantizeLinear` whose inputs are initializers by the f32 initializer it stands for.
///
/// Returns how many were folded.
///
/// # Errors
/// When such a node has a type, an axis or a length that does not fit.
pub(super) fn fold_dequantize(model: &mut ModelProto) -> Result<usize, String> {
    let Some(graph) = model.graph.as_mut() else { return Err("the file holds no graph".into()) };
    let by_name: HashMap<String, usize> =
        graph.initializer.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    let mut folded = Vec::new();
    for node in graph.node.drain(..) {
        let inputs: Option<Vec<&TensorProto>> = (node.op_type == "DequantizeLinear")
            .then(|| node.input.iter().map(|name| by_name.get(name).map(|&i| &graph.initializer[i])).collect())
            .flatten();
        match inputs {
            Some(inputs) => folded.push(dequantize(&node, &inputs)?),
            None => kept.push(node),
        }
    }
    let count = folded.len();
    graph.node = kept;
    let used: std::collections::HashSet<&str> =
        graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str)).collect();
    graph.initializer.retain(|t| used.contains(t.name.as_str()));
    graph.initializer.extend(folded);
    Ok(count)
}

/// `y = (x - zero_point) * scale`, scale and zero point a slice along `axis` (ONNX operator DequantizeLinear-13).
fn dequantize(node: &NodeProto, inputs: &[&TensorProto]) -> Result<TensorProto, String> {
    let output = node.output.first().cloned().unwrap_or_default();
    let fault = |detail: String| format!("DequantizeLinear `{output}`: {detail}");
    let (x, scale) = match inputs {
        [x, scale] | [x, scale, _] => (*x, floats(scale).map_err(&fault)?),
        _ => return Err(fault(format!("{} inputs, expected 2 or 3", inputs.len()))),
    };
    let values = integers(x).map_err(&fault)?;
    let zero = match inputs.get(2) {
        Some(zero) => integers(zero).map_err(&fault)?,
        None => vec![0; scale.len()],
    };
    let dims: Vec<usize> = x.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    if dims.iter().product::<usize>() != values.len() {
        return Err(fault(format!("shape {dims:?} for {} values", values.len())));
    }
    let channels = scale.len();
    let inner = if channels == 1 {
        values.len()
    } else {
        let rank = dims.len() as i64;
        let axis = node.attribute.iter().find(|a| a.name == "axis").map_or(1, |a| a.i);
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX);
        if dims.get(axis) != Some(&channels) {
            return Err(fault(format!("{channels} scales do not fit axis {axis} of {dims:?}")));
        }
        dims[axis + 1..].iter().product()
    };
    if zero.len() != channels || inner == 0 {
        return Err(fault(format!("{} zero points for {channels} scales", zero.len())));
    }
    let mut raw = Vec::with_capacity(4 * values.len());
    for (i, block) in values.chunks(inner).enumerate() {
        let (s, z) = (scale[i % channels], zero[i % channels]);
        raw.extend(block.iter().flat_map(|&v| ((v - z) as f32 * s).to_le_bytes()));
    }
    Ok(TensorProto {
        dims: x.dims.clone(),
        data_type: DataType::Float as i32,
        name: output,
        raw_data: raw,
        ..Default::default()
    })
}

fn floats(tensor: &TensorProto) -> Result<Vec<f32>, String> {
    if tensor.data_type != DataType::Float as i32 {
        return Err(format!("`{}` has data type {}, expected float", tensor.name, tensor.data_type));
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    Ok(tensor.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn integers(tensor: &TensorProto) -> Result<Vec<i32>, String> {
    let raw = &tensor.raw_data;
    match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int8 | DataType::Uint8) if raw.is_empty() => Ok(tensor.int32_data.clone()),
        Ok(DataType::Int8) => Ok(raw.iter().map(|&b| i32::from(b.cast_signed())).collect()),
        Ok(DataType::Uint8) => Ok(raw.iter().map(|&b| i32::from(b)).collect()),
        _ => Err(format!("`{}` has data type {}, expected int8 or uint8", tensor.name, tensor.data_type)),
    }
}
