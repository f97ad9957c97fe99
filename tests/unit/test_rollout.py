"""The decisions of a rollout, played through without processes."""

from hypothesis import given
from hypothesis import strategies as st

from localfaas.rollout import SURGE_SLOT, Leave, Phase, Replica, Start, Wanted, plan


def serving(slot: int, generation: str = "new") -> Replica:
    return Replica(slot, generation, Phase.SERVING)


def test_first_deployment_starts_every_slot_at_once():
    assert plan(Wanted("new", 3), []) == [Start(1), Start(2), Start(3)]


def test_settled_function_needs_nothing():
    assert plan(Wanted("new", 2), [serving(1), serving(2)]) == []


def test_scaling_down_lets_the_highest_slots_leave():
    assert plan(Wanted("new", 1), [serving(1), serving(2), serving(3)]) == [Leave(2), Leave(3)]


def test_new_generation_starts_beside_the_old_one():
    assert plan(Wanted("new", 1), [serving(1, "old")]) == [Start(SURGE_SLOT)]


def test_old_replica_stays_until_the_extra_one_serves():
    waiting = Replica(SURGE_SLOT, "new", Phase.STARTING)
    assert plan(Wanted("new", 1), [serving(1, "old"), waiting]) == []


def test_one_old_replica_leaves_at_a_time():
    replicas = [serving(1, "old"), serving(2, "old"), serving(SURGE_SLOT)]
    assert plan(Wanted("new", 2), replicas) == [Leave(1)]
    leaving = [Replica(1, "old", Phase.LEAVING), serving(2, "old"), serving(SURGE_SLOT)]
    assert plan(Wanted("new", 2), leaving) == []


def test_extra_replica_leaves_when_all_are_replaced():
    assert plan(Wanted("new", 2), [serving(1), serving(2), serving(SURGE_SLOT)]) == [Leave(SURGE_SLOT)]


def test_replica_that_never_served_is_replaced_at_once():
    assert plan(Wanted("new", 1), [Replica(1, "broken", Phase.STARTING)]) == [Leave(1)]


def test_removed_function_lets_everything_leave():
    assert plan(Wanted("", 0), [serving(1), serving(SURGE_SLOT)]) == [Leave(1), Leave(SURGE_SLOT)]


def settle(wanted: Wanted, replicas: list[Replica]) -> tuple[list[Replica], int]:
    """Play actions to the end; return the final replicas and the fewest that served on the way."""
    fewest = sum(replica.phase is Phase.SERVING for replica in replicas)
    for _ in range(60):
        actions = plan(wanted, replicas)
        for action in actions:
            if isinstance(action, Start):
                replicas = [*replicas, Replica(action.slot, wanted.generation, Phase.STARTING)]
            else:
                replicas = [
                    Replica(r.slot, r.generation, Phase.LEAVING) if r.slot == action.slot else r
                    for r in replicas
                ]
        fewest = min(fewest, sum(replica.phase is Phase.SERVING for replica in replicas))
        replicas = [r for r in replicas if r.phase is not Phase.LEAVING]
        replicas = [Replica(r.slot, r.generation, Phase.SERVING) for r in replicas]
        if not actions and not plan(wanted, replicas):
            return replicas, fewest
    raise AssertionError("the rollout never settles")


PHASES = st.sampled_from([Phase.STARTING, Phase.SERVING])
REPLICAS = st.dictionaries(
    st.integers(1, SURGE_SLOT), st.tuples(st.sampled_from(["old", "older", "new"]), PHASES)
)


@given(slots=REPLICAS, count=st.integers(1, 5))
def test_every_starting_point_settles_on_the_wanted_slots(slots, count):
    replicas = [Replica(slot, generation, phase) for slot, (generation, phase) in slots.items()]
    final, _ = settle(Wanted("new", count), replicas)
    assert sorted(final, key=lambda r: r.slot) == [serving(slot) for slot in range(1, count + 1)]


@given(count=st.integers(1, 5))
def test_rolling_replacement_never_serves_with_fewer_than_wanted(count):
    _, fewest = settle(Wanted("new", count), [serving(slot, "old") for slot in range(1, count + 1)])
    assert fewest >= count


def act(wanted: Wanted, replicas: list[Replica]) -> list[Replica]:
    """What is there once the actions of now are taken."""
    for action in plan(wanted, replicas):
        if isinstance(action, Start):
            replicas = [*replicas, Replica(action.slot, wanted.generation, Phase.STARTING)]
        else:
            replicas = [
                Replica(r.slot, r.generation, Phase.LEAVING) if r.slot == action.slot else r for r in replicas
            ]
    return replicas


@given(count=st.integers(1, 5), events=st.lists(st.integers(0, 9), max_size=80))
def test_deployments_that_overtake_each_other_never_serve_with_fewer_than_wanted(count, events):
    """Each event is one replica that comes up or is gone, or, now and then, a deployment of something newer."""
    generation, replicas = 0, [serving(slot, "0") for slot in range(1, count + 1)]
    for event in events:
        moving = [replica for replica in replicas if replica.phase is not Phase.SERVING]
        if event == 0 or not moving:
            generation += 1
        else:
            one = moving[event % len(moving)]
            replicas.remove(one)
            if one.phase is Phase.STARTING:
                replicas.append(serving(one.slot, one.generation))
        replicas = act(Wanted(str(generation), count), replicas)
        assert sum(replica.phase is Phase.SERVING for replica in replicas) >= count
