"""The tables of models: what each names is there, and rooms that may not import each other agree on the names."""

import importlib
from pathlib import Path

import pytest

from floodtest.analysis.figures.lines_of_code import PACKAGE, front_of
from floodtest.analysis.record.summary import Models
from floodtest.loadgen.plan.models import CLIENT_MODELS, DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL, SERVER_MODELS
from floodtest.server_under_test import models as server

ROOT = Path(__file__).parent.parent
WORKERS = [
    *(traits.worker for traits in CLIENT_MODELS.values()),
    *(traits.worker for traits in server.MODELS.values()),
]


def test_a_run_knows_the_models_that_the_server_has() -> None:
    assert list(SERVER_MODELS) == list(server.MODELS)
    assert server.DEFAULT_MODEL == DEFAULT_SERVER_MODEL


def test_a_record_that_names_no_models_is_of_those_that_are_taken_unless_it_is_said() -> None:
    assert Models() == Models(DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL)


@pytest.mark.parametrize("worker", WORKERS)
def test_each_model_has_workers(worker: str) -> None:
    assert callable(importlib.import_module(worker).worker_main)


@pytest.mark.parametrize("model", server.MODELS)
def test_the_code_of_each_model_is_found_by_its_name(model: server.Model) -> None:
    module = front_of(ROOT / "server_under_test", model)
    assert f"{PACKAGE}.{module}" == server.MODELS[model].worker
