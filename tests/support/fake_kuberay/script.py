"""Plays a child's steps: each waits for its moment, then does one thing to the world."""

import asyncio

from support.fake_kuberay.actions import ACTIONS, CONDITIONS, Script, admit, exit_driver, is_suspended
from support.fake_kuberay.child import Child
from support.fake_kuberay.scenarios import OF_DRIVERS, Step

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_BEYOND = ("Deleted", "Gone")


async def play(script: Script) -> None:
    """Do the steps in order; a driver that is asked to stop leaves, and most of what follows a deletion is left out."""
    steps = script.scenario.steps_of(script.child)
    if script.world.executor is not None:
        steps = tuple(step for step in steps if step.do not in OF_DRIVERS)
    if not any(step.do in ("Hold", "Admit") for step in steps):
        await _admit_if_held(script)
    for step in steps:
        if not await _reach(script, step):
            return
        await ACTIONS[step.do](script, step.values)
        script.child.ring()


async def _reach(script: Script, step: Step) -> bool:
    """Wait for a step's moment; False where it never comes."""
    holds, beyond = CONDITIONS[step.when], script.is_leaving or step.when in _BEYOND
    await script.child.until(lambda child: holds(child) or (child.is_deleting and not beyond))
    if script.child.is_deleting and not beyond:
        return False
    script.is_leaving = beyond
    return await _pass(script, step.after * script.world.scale)


async def _pass(script: Script, seconds: float) -> bool:
    """Let time go by; False where the driver was asked to stop, or its child deleted, in the meantime."""

    def is_disturbed(child: Child) -> bool:
        return script.must_stop or (child.is_deleting and not script.is_leaving)

    if not await script.child.until(is_disturbed, seconds=seconds):
        return True
    if script.must_stop:
        await _stop(script)
    return False


async def _stop(script: Script) -> None:
    """Save, say so, and leave with 1, as the runtime does."""
    script.is_leaving = True
    await script.as_driver(lambda driver: driver.progress(1, 4, state="Stopping"))
    await asyncio.sleep(script.world.scale)
    await script.as_driver(lambda driver: driver.result("Stopped", reason="Stopped", message="asked to stop"))
    script.world.journal.note(script.child, "Result", outcome="Stopped")
    await exit_driver(script, {"code": 1})


async def _admit_if_held(script: Script) -> None:
    """A queue that nothing else is said of admits at once."""
    if QUEUE_LABEL in script.child.labels and script.child.spec.get("suspend"):
        await script.child.until(lambda child: is_suspended(child) or child.is_deleting)
        await admit(script, {})
