"""Serve a checkpoint with LitServe, in batches: `python server.py --model outputs/mine`.

    POST /predict  {"inputs": IMAGE IN BASE64, "parameters": {"threshold": 0.3, "top_k": 5}}

answers `{"tags": [{"label", "score"}, …]}`. A request that cannot be answered gets 422 and a reason, and the others of
its batch their tags. The form of a request is that of Inference Endpoints.
"""

import argparse
import signal
from typing import Any

import litserve
from fastapi import Request  # by this annotation LitServe knows that a request is JSON
from fastapi.responses import JSONResponse, Response
from transformers import pipeline

import sct_hf  # noqa: F401  registers the task
from sct_hf.hub.handler import read_image
from sct_hf.inference.scoring import run_together

PARAMETERS = {"threshold", "profile", "abstain", "top_k"}  # what is chosen after the model has run


class TaggingAPI(litserve.LitAPI):
    """The pipeline "multi-label-image-classification", its stages spread over LitServe's."""

    def __init__(self, model: str | None, **options: Any) -> None:
        super().__init__(**options)
        self.checkpoint = model

    def setup(self, device: str) -> None:
        """Load the model, once in each worker."""
        make: Any = pipeline
        self.tagger = make("multi-label-image-classification", model=self.checkpoint, device=device)

    def decode_request(self, request: Request) -> tuple[dict[str, Any], dict[str, Any]] | JSONResponse:
        """Read the image and check the parameters. An error is returned: raised, it would end the whole batch."""
        try:
            if not isinstance(request, dict) or "inputs" not in request or request.keys() - {"inputs", "parameters"}:
                raise ValueError('send {"inputs": an image in base64, "parameters": {…}}')
            parameters = request.get("parameters", {})
            if not isinstance(parameters, dict) or parameters.keys() - PARAMETERS:
                known = ", ".join(sorted(PARAMETERS))
                raise ValueError(f"parameters is {parameters!r}: give an object with some of {known}")
            reading, _, choosing = self.tagger.stages(**parameters)
            image = read_image(request["inputs"], self.tagger.limits.check_image)
            return self.tagger.preprocess(image, **reading), choosing
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave decoded requests as they are: `predict` joins their tensors."""
        return inputs

    def predict(self, requests: list[Any]) -> list[Any]:
        """Run the model once for all images."""
        readable = [request for request in requests if not isinstance(request, JSONResponse)]
        outputs = iter(run_together(self.tagger, [inputs for inputs, _ in readable], {}))
        return [
            request if isinstance(request, JSONResponse) else self.tagger.postprocess(next(outputs), **request[1])
            for request in requests
        ]

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One result a request."""
        return output

    def encode_response(self, output: Any) -> Response:
        """The tags, or the error as it is."""
        return output if isinstance(output, JSONResponse) else JSONResponse({"tags": output})


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a checkpoint, or its name on the Hub (default: the package's)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 takes requests from outside"
    )
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--batch_size", type=int, default=8, help="most images in one run of the model")
    parser.add_argument("--wait", type=float, default=0.01, help="seconds to wait for a batch to fill")
    arguments = parser.parse_args()
    api = TaggingAPI(arguments.model, max_batch_size=arguments.batch_size, batch_timeout=arguments.wait)
    server = litserve.LitServer(api, accelerator="auto")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the workers too, as Ctrl-C does
    server.run(host=arguments.host, port=arguments.port, generate_client_file=False)


if __name__ == "__main__":
    main()
