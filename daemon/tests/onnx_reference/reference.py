"""Runs a model in ONNX Runtime's own Python package, as the reference that backends are held to.

usage: reference.py MODEL FOLDER
Reads FOLDER/inputs.json, a list of {name, dtype, shape, file}, and the raw little-endian files beside it;
writes FOLDER/outputs.json and its files in the same form. Also runs the ONNX checker's full check.
usage: reference.py --find PACKAGE PATH
Prints where PATH of an installed package lies, without importing the package.
usage: reference.py --write GRAPH MODEL
Writes the graph in the text file GRAPH, in ONNX's own notation, as MODEL.
"""

import importlib.util
import json
import pathlib
import sys

DTYPES = {"f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "u8": "uint8", "bool": "bool"}


def find(package, path):
    spec = importlib.util.find_spec(package)
    if spec is None:
        sys.exit(f"the package {package} is not installed")
    print(pathlib.Path(list(spec.submodule_search_locations)[0]) / path)


def write(graph, model):
    import onnx.parser

    onnx.save(onnx.parser.parse_model(pathlib.Path(graph).read_text()), model)


def run(model, folder):
    import numpy
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    inputs = {}
    for tensor in json.loads((folder / "inputs.json").read_text()):
        raw = (folder / tensor["file"]).read_bytes()
        inputs[tensor["name"]] = numpy.frombuffer(raw, dtype=DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    described = []
    for index, (name, value) in enumerate(zip(names, session.run(names, inputs))):
        file = f"output{index}.bin"
        (folder / file).write_bytes(numpy.ascontiguousarray(value, dtype="float32").tobytes())
        described.append({"name": name, "shape": list(value.shape), "file": file})
    (folder / "outputs.json").write_text(json.dumps(described))


if sys.argv[1] == "--find":
    find(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "--write":
    write(sys.argv[2], sys.argv[3])
else:
    run(sys.argv[1], pathlib.Path(sys.argv[2]))
