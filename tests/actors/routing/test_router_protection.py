"""Protection: one GTT per open rung for what it holds, moved on request, and never less than what stood before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest

from brokers.paper import PaperOptions
from protocol.broker import CancelGtt, GttUpdate, ModifyGtt, OrderUpdate, PlaceGtt, PlaceOrder
from protocol.messages import RequestRefused, RungState
from protocol.orders import GttState, Leg, OrderState
from protocol.rungs import Protection
from tests.fakes.router_stage import PRICE, RouterStage

StageMaker = Callable[..., Awaitable[RouterStage]]


async def bought(told: RouterStage, filled: int = 10) -> OrderUpdate:
    """P1 of INFY at the told broker; what the broker said of its entry."""
    await told.after(1)
    await told.tick(INFY=PRICE)
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    state = OrderState.COMPLETE if filled == request.quantity else OrderState.PARTIAL
    news = told.told.order(request, state, filled=filled, price=PRICE)
    await told.hear(news)
    return news


async def guarded(told: RouterStage, filled: int = 10) -> GttUpdate:
    """P1 of INFY with its GTT at the told broker; what the broker said of the GTT."""
    await bought(told, filled)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    news = told.told.gtt(request)
    await told.hear(news)
    return news


# --- placing --------------------------------------------------------------------------------------------


async def test_a_rungs_stop_and_target_stand_in_one_gtt_for_what_it_holds(stage: RouterStage) -> None:
    await stage.open_rung()
    (gtt,) = stage.gtts()
    assert (gtt.state, gtt.quantity) == (GttState.ACTIVE, 10)
    assert (gtt.stop, gtt.target) == (Leg(146_250, 144_785), Leg(157_500, 157_500))  # limit 1 % below, rounded down
    rung = stage.rung()
    assert (rung.protection, rung.stop_paise, rung.target_paise) == (Protection.STANDING, 146_250, 157_500)
    assert stage.trade() == rung


async def test_no_second_gtt_is_placed_beside_one_that_may_stand(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    await told.say(told.protect(stop=146_000))
    assert len(told.told.take()) == 1
    assert told.rung().protection is Protection.REQUESTED


async def test_a_protection_heard_again_after_it_was_refused_is_not_placed_twice(told: RouterStage) -> None:
    await bought(told)
    wish = told.protect()
    await told.say(wish)
    (request,) = told.told.take()
    await told.hear(told.told.failed(request))
    await told.die()
    await told.say(wish)
    assert told.told.take() == []
    assert told.refusals()[-1] == "asked before"


async def test_a_refused_protection_is_told_before_the_state_that_would_ask_again(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    told.positions["INFY"].take()
    await told.hear(told.told.failed(request, "trigger is too near"))
    refusal, state = told.positions["INFY"].take()
    assert isinstance(refusal, RequestRefused)
    assert refusal.reason == "TOLD: trigger is too near"
    assert isinstance(state, RungState)
    assert state.rung.protection is Protection.NONE


async def test_a_rung_without_a_stop_at_the_broker_raises_one_alert_not_one_per_price(stage_of: StageMaker) -> None:
    stage = await stage_of(options=PaperOptions(gtt_min_distance_bp=25))
    await stage.open_rung(protected=False)
    for seconds in range(5):
        await stage.after(seconds)
        await stage.say(stage.protect(stop=149_900))
    (alert,) = stage.alerts()
    assert alert.startswith("INFY P1: no stop at the broker, watched here: TRIGGER_TOO_NEAR")
    assert len(stage.refusals()) == 5
    assert stage.rung().protection is Protection.NONE


async def test_a_gtt_rejected_later_is_refused_like_one_rejected_at_once(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    await told.hear(told.told.gtt(request, GttState.REJECTED, message="not today"))
    assert told.refusals() == ["not today"]
    assert told.rung().protection is Protection.NONE


async def test_a_rung_that_is_being_sold_gets_no_protection(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.leave())
    told.told.take()
    await told.say(told.protect())
    assert told.told.take() == []


# --- moving ---------------------------------------------------------------------------------------------


async def test_a_moved_stop_is_in_the_journal_before_the_wire_in_one_commit(stage: RouterStage) -> None:
    await stage.open_rung()
    before = stage.journal.file.commits
    await stage.say(stage.move(147_000))
    assert stage.journal.file.commits == before + 1
    (gtt,) = stage.gtts()
    assert gtt.stop == Leg(147_000, 145_530)
    assert (stage.trade().stop_paise, stage.trade().highest_paise) == (147_000, PRICE + 1_000)
    assert stage.rung().stop_paise == 147_000


async def test_a_stop_that_stands_already_is_not_sent_again_but_answered(stage: RouterStage) -> None:
    await stage.open_rung()
    stage.positions["INFY"].take()
    commits = stage.journal.file.commits
    await stage.say(stage.move(146_250))
    assert stage.journal.file.commits == commits
    assert stage.rung().stop_paise == 146_250


async def test_a_refused_move_leaves_what_stood_and_does_not_loop_in_its_instant(told: RouterStage) -> None:
    news = await guarded(told)
    told.told.has(news)
    await told.say(told.move(149_000))
    (request,) = told.told.take()
    assert isinstance(request, ModifyGtt)
    await told.hear(told.told.failed(request, "too near"))
    assert told.refusals() == ["TOLD: too near"]
    assert told.rung().stop_paise == 146_250
    assert told.gtts()[0].stop == news.stop
    assert told.told.take() == []


async def test_a_move_of_unknown_fate_is_repeated_when_the_books_show_the_lower_stop(told: RouterStage) -> None:
    news = await guarded(told)
    told.told.has(news)
    await told.say(told.move(149_000))
    (request,) = told.told.take()
    assert isinstance(request, ModifyGtt)
    await told.hear(told.told.failed(request, reached=True))
    assert told.told.take() == [attrs.evolve(request, last_paise=PRICE)]  # a modify says all of it: it may be repeated


async def test_a_move_for_a_rung_that_is_being_sold_is_not_sent(told: RouterStage) -> None:
    await guarded(told)
    await told.say(told.leave())
    told.told.take()
    await told.say(told.move(149_000))
    assert told.told.take() == []


# --- the quantity ---------------------------------------------------------------------------------------


async def test_a_gtt_grows_with_the_fills_of_its_entry(told: RouterStage) -> None:
    news = await guarded(told, filled=4)
    entry = told.orders()[0]
    await told.hear(
        OrderUpdate(
            broker_id=entry.broker_id or "",
            client_id=entry.client_id,
            gtt_id=None,
            symbol="INFY",
            side=entry.side,
            state=OrderState.COMPLETE,
            quantity=10,
            filled=10,
            value_paise=10 * PRICE,
            at_ns=told.clock.now_ns,
        )
    )
    (request,) = told.told.take()
    assert isinstance(request, ModifyGtt)
    assert request.quantity == 10
    await told.hear(told.told.modified(news, request))
    assert told.gtts()[0].quantity == 10
    assert told.told.take() == []


async def test_fills_while_the_gtt_is_on_its_way_are_protected_as_soon_as_it_stands(told: RouterStage) -> None:
    entry = await bought(told, filled=4)
    await told.say(told.protect())
    (request,) = told.told.take()
    assert isinstance(request, PlaceGtt)
    assert request.quantity == 4
    await told.hear(attrs.evolve(entry, state=OrderState.COMPLETE, filled=10, value_paise=10 * PRICE))
    assert told.told.take() == []
    await told.hear(told.told.gtt(request))
    (resize,) = told.told.take()
    assert isinstance(resize, ModifyGtt)
    assert resize.quantity == 10


# --- what the books say ------------------------------------------------------------------------------------


async def test_a_gtt_that_is_not_in_the_list_is_asked_about_for_ten_seconds_then_placed_again(
    told: RouterStage,
) -> None:
    await guarded(told)
    told.told.has()
    await told.disconnect()
    await told.connect()
    assert told.rung().protection is Protection.REQUESTED  # nobody knows
    await told.after(9)
    assert told.rung().protection is Protection.REQUESTED
    await told.after(1)
    assert told.rung().protection is Protection.NONE
    await told.say(told.protect())
    assert len([r for r in told.told.take() if isinstance(r, PlaceGtt)]) == 1


async def test_the_extra_gtt_that_turns_up_later_is_cancelled_at_once(told: RouterStage) -> None:
    await bought(told)
    await told.say(told.protect())
    (first,) = told.told.take()
    assert isinstance(first, PlaceGtt)
    await told.hear(told.told.failed(first, reached=True))
    await told.after(11)
    await told.say(told.protect())
    (second,) = told.told.take()
    assert isinstance(second, PlaceGtt)
    ours, extra = told.told.gtt(second), told.told.gtt(first)
    await told.hear(ours)
    told.told.has(ours, extra)
    await told.disconnect()
    await told.connect()
    assert told.told.take() == [CancelGtt(extra.gtt_id)]
    assert told.rung().protection is Protection.STANDING


async def test_a_gtt_of_a_rung_that_is_closed_is_cancelled(told: RouterStage) -> None:
    news = await guarded(told)
    await told.say(told.leave())
    told.told.take()
    await told.hear(attrs.evolve(news, state=GttState.CANCELLED))
    (sell,) = told.told.take()
    assert isinstance(sell, PlaceOrder)
    sold = told.told.order(sell, OrderState.COMPLETE, filled=10, price=PRICE)
    await told.hear(sold)
    told.told.has(news, sold)
    await told.disconnect()
    await told.connect()
    assert told.told.take() == [CancelGtt(news.gtt_id)]


async def test_a_quantity_that_differs_is_modified_and_a_higher_trigger_is_kept(told: RouterStage) -> None:
    news = await guarded(told)
    told.told.has(attrs.evolve(news, quantity=7))
    await told.disconnect()
    await told.connect()
    (request,) = told.told.take()
    assert isinstance(request, ModifyGtt)
    assert (request.quantity, request.stop) == (10, news.stop)
    told.told.has(attrs.evolve(news, stop=Leg(147_000, 145_530)))
    await told.disconnect()
    await told.connect()
    assert told.told.take() == []
    assert told.rung().stop_paise == 147_000


async def test_a_gtt_cancelled_by_somebody_else_is_said_aloud_and_protected_anew(told: RouterStage) -> None:
    news = await guarded(told)
    await told.hear(attrs.evolve(news, state=GttState.CANCELLED, message="by the user"))
    assert told.rung().protection is Protection.NONE
    assert told.notices[-1].text == f"INFY P1: GTT {news.gtt_id} is gone: by the user"


@pytest.mark.parametrize("later", [GttState.ACTIVE, GttState.CANCELLED])
async def test_an_older_word_than_the_trigger_changes_nothing(told: RouterStage, later: GttState) -> None:
    news = await guarded(told)
    await told.hear(attrs.evolve(news, state=GttState.TRIGGERED), told.told.child(news))
    await told.hear(attrs.evolve(news, state=later))
    assert told.rung().protection is Protection.FIRED
    assert told.rung().exit_working


async def test_a_persons_own_gtt_is_left_alone(told: RouterStage) -> None:
    news = await guarded(told)
    own = attrs.evolve(news, gtt_id="OWN", client_id=None)
    told.told.has(news, own)
    await told.hear(own)
    await told.disconnect()
    await told.connect()
    assert told.told.take() == []
    assert told.alerts() == []
