"""Being asked to stop: real signals to this process."""

from __future__ import annotations

import os
import signal

import pytest

from mmsa_suparc.errors import StoppedError
from mmsa_suparc.training.stop import Stop


def test_sigterm_said_again_at_once_is_the_same_request_and_ctrl_c_is_not() -> None:
    stop = Stop()
    with stop.listening():
        assert not stop.was_asked()
        for _ in range(3):  # as Slurm tells a whole job, and who started the training passes it on
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.was_asked()
        with pytest.raises(StoppedError) as quit_at_once:
            os.kill(os.getpid(), signal.SIGINT)
    assert quit_at_once.value.status == 130
