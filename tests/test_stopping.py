import signal
import threading
from contextlib import suppress

import pytest

from asr_kd import stopping


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_request_to_stop_is_heeded_at_once(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(stopping.Terminated), stopping.heeded():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_long_work_puts_it_off() -> None:
    done = []
    with pytest.raises(stopping.Terminated), stopping.heeded(), stopping.deferred() as stop:
        signal.raise_signal(signal.SIGUSR2)
        assert stop.asked
        done.append("state is kept")
    assert done
    with stopping.deferred() as stop:
        assert not stop.asked


def test_an_error_meanwhile_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="own"), stopping.heeded(), stopping.deferred():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("own")


def test_a_request_before_an_error_that_is_coped_with_takes_effect_next_time() -> None:
    with pytest.raises(stopping.Terminated), stopping.heeded():
        with suppress(ValueError), stopping.deferred():
            signal.raise_signal(signal.SIGTERM)
            raise ValueError("own")
        with stopping.deferred():
            raise AssertionError("the next begins")
    with stopping.deferred() as stop:
        assert not stop.asked


def test_other_threads_change_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def run() -> None:
        with stopping.heeded():
            assert signal.getsignal(signal.SIGTERM) == before

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
