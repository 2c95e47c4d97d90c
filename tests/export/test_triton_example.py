"""The example for Triton: its configuration against the graph, and its client against a server of the protocol."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="the graph runs in onnxruntime")
pytest.importorskip("tritonclient.http", reason="the client needs tritonclient[http]")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "triton"
DTYPES = {"tensor(float)": "TYPE_FP32"}


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE / script, *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def repository(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    done = run("make_repository.py", exported, folder, "--name", "tagger")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[str]:
    """A server of the Open Inference Protocol with its binary tensors, over the graph of the repository."""
    session = onnxruntime.InferenceSession(repository / "tagger" / "1" / "model.onnx")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = int(self.headers["Inference-Header-Content-Length"])
            request = json.loads(body[:length])
            (given,) = request["inputs"]
            assert self.path == "/v2/models/tagger/infer"
            assert given["datatype"] == "FP32"
            pixels = np.frombuffer(body[length:], np.float32).reshape(given["shape"])
            names = [output["name"] for output in request["outputs"]]
            values = session.run(names, {given["name"]: pixels})
            outputs = [
                {
                    "name": name,
                    "datatype": "FP32",
                    "shape": value.shape,
                    "parameters": {"binary_data_size": value.nbytes},
                }
                for name, value in zip(names, values, strict=True)
            ]
            head = json.dumps({"model_name": "tagger", "model_version": "1", "outputs": outputs}).encode()
            self.send_response(200)
            self.send_header("Inference-Header-Content-Length", str(len(head)))
            self.send_header("Content-Length", str(len(head) + sum(value.nbytes for value in values)))
            self.end_headers()
            self.wfile.write(head + b"".join(value.tobytes() for value in values))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{served.server_port}"
        served.shutdown()


def test_configuration_is_the_graphs(repository: Path) -> None:
    """Parsed by Triton's own schema, names, types and shapes are those that onnxruntime reads from the graph."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    config = text_format.Parse((repository / "tagger" / "config.pbtxt").read_text(), schema.ModelConfig())
    session = onnxruntime.InferenceSession(repository / "tagger" / "1" / "model.onnx")
    assert (config.name, config.backend) == ("tagger", "onnxruntime")
    assert config.max_batch_size > 1
    for told, found in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [one.name for one in told] == [one.name for one in found]
        for one, node in zip(told, found, strict=True):
            assert schema.DataType.Name(one.data_type) == DTYPES[node.type]
            assert isinstance(node.shape[0], str)  # the batch, which Triton's dims leave out
            assert list(one.dims) == [size if isinstance(size, int) else -1 for size in node.shape[1:]]


def test_client_prints_what_the_export_prints(server: str, exported: Path, images: Path) -> None:
    paths = sorted(images.glob("*.png"))
    asked = run("client.py", exported, *paths, "--url", server, "--name", "tagger")
    alone = subprocess.run([sys.executable, exported / "run_onnx.py", *paths], capture_output=True, text=True)
    assert asked.returncode == alone.returncode == 0, asked.stderr
    assert asked.stdout == alone.stdout
    assert "\t" in asked.stdout


def test_what_cannot_be_done_is_said(
    server: str, exported: Path, images: Path, repository: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    done = run("client.py", exported, broken, images / "0.png", "--url", server, "--name", "tagger")
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr
    assert "0.png" in done.stdout
    for words, remedy in (
        ((exported, repository, "--name", "tagger"), "another --name"),
        ((tmp_path, repository), "sct-hf export"),
    ):
        refused = run("make_repository.py", *words)
        assert refused.returncode == 1
        assert remedy in refused.stderr
