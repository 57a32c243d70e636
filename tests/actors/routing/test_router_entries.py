"""Entries: checked and reserved in one step, written before they are sent, sent once, and given up in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from brokers.paper import PaperOptions
from protocol.broker import CancelOrder, PlaceOrder, Request
from protocol.messages import AbandonEntry, SetKillSwitch
from protocol.orders import OrderState, OrderType
from protocol.rungs import RungStatus
from strategy.risk import RiskLimits
from tests.fakes.router_stage import PRICE, QUANTITY, RouterStage, requests_of

StageMaker = Callable[..., Awaitable[RouterStage]]


# --- journal before wire ----------------------------------------------------------------------------


async def test_an_order_is_in_the_journal_as_sent_before_its_first_byte(told: RouterStage) -> None:
    found: list[OrderState] = []

    def look(request: Request) -> list[object]:
        found.extend(order.state for order in told.orders())
        return []

    told.told.at_once = look  # type: ignore[assignment]
    await told.say(told.enter())
    assert found == [OrderState.SENT]


async def test_requests_of_one_turn_are_one_transaction(told: RouterStage) -> None:
    before = told.journal.file.commits
    await told.say(told.enter(), told.enter(symbol="TCS"))
    assert len(requests_of(PlaceOrder, told.told.sent)) == 2
    assert told.journal.file.commits == before + 1


async def test_a_fill_is_in_the_journal_before_its_position_hears_of_it(stage: RouterStage) -> None:
    known: list[int] = []
    position = stage.positions["INFY"]
    post = position.post

    def listen(message: object) -> None:
        known.append(len(stage.journal.trades()))
        post(message)

    position.post = listen  # type: ignore[method-assign]
    await stage.say(stage.enter())
    assert known == [1]
    assert stage.rung() == stage.trade()


async def test_every_order_bears_an_id_of_its_own(stage: RouterStage) -> None:
    await stage.say(stage.enter(), stage.enter(symbol="TCS"))
    await stage.die()
    await stage.say(stage.enter(2))
    ids = [order.client_id for order in stage.orders()]
    assert len(set(ids)) == 3
    assert {client_id[:4] for client_id in ids} == {"PA01"}
    assert {client_id[4:8] for client_id in ids} == {stage.journal.database_id}


# --- the same wish twice ------------------------------------------------------------------------------


async def test_a_wish_heard_twice_is_sent_once_and_answered_twice(stage: RouterStage) -> None:
    wish = stage.enter()
    await stage.say(wish)
    stage.positions["INFY"].take()
    await stage.say(wish)
    assert len(stage.orders()) == 1
    assert stage.rung().status is RungStatus.OPEN


async def test_a_wish_heard_again_by_the_next_incarnation_is_sent_once(stage: RouterStage) -> None:
    wish = stage.enter()
    await stage.say(wish)
    await stage.die()
    await stage.say(wish)
    assert len(stage.orders()) == 1


async def test_a_wish_heard_again_after_a_death_of_the_process_is_sent_once(on_disk: RouterStage) -> None:
    wish = on_disk.enter()
    await on_disk.say(wish)
    await on_disk.process_dies()
    await on_disk.say(wish)
    assert len(on_disk.orders()) == 1


# --- reservations ----------------------------------------------------------------------------------------


async def test_a_ranked_list_is_reserved_in_its_order_and_what_does_not_fit_is_skipped(stage_of: StageMaker) -> None:
    stage = await stage_of(limits=RiskLimits(capital_paise=QUANTITY * PRICE))
    wanted = stage.reserve("TCS", "INFY")
    dear = attrs.evolve(wanted.candidates[0], quantity=2 * QUANTITY)
    await stage.say(attrs.evolve(wanted, candidates=(dear, wanted.candidates[1])))
    answer = stage.reserved()
    assert [reservation.symbol for reservation in answer.granted] == ["INFY"]
    ((symbol, reason),) = answer.refused
    assert symbol == "TCS"
    assert reason.startswith("capital: needs")


async def test_a_scan_asked_again_by_the_scanners_next_incarnation_gets_the_same_answer(stage: RouterStage) -> None:
    wanted = stage.reserve("INFY", "TCS")
    await stage.say(wanted)
    first = stage.reserved()
    await stage.say(wanted)
    assert stage.reserved() == first
    assert (await stage.snapshot())["slots"] == 2


async def test_a_reservation_that_nobody_uses_lapses_after_entry_ttl(stage: RouterStage) -> None:
    await stage.say(stage.reserve("INFY"))
    assert (await stage.snapshot())["slots"] == 1
    await stage.after(5.1)
    await stage.tick(TCS=PRICE)
    await stage.say(stage.reserve("TCS"))
    assert [reservation.symbol for reservation in stage.reserved().granted] == ["TCS"]
    assert (await stage.snapshot())["slots"] == 1


async def test_a_first_entry_that_is_refused_gives_its_reservation_back(stage: RouterStage) -> None:
    await stage.say(stage.reserve("INFY"))
    (reservation,) = stage.reserved().granted
    await stage.ask(SetKillSwitch(True, "a person"))
    await stage.say(stage.enter(ladder=reservation.ladder))
    assert stage.refusals() == ["kill switch is on"]
    assert (await stage.snapshot())["deployed_paise"] == 0


async def test_a_symbol_cools_down_after_its_exit_and_may_then_be_picked_again(stage: RouterStage) -> None:
    await stage.open_rung(protected=False)
    await stage.say(stage.leave())
    await stage.after(899)
    await stage.tick(INFY=PRICE)
    await stage.say(stage.reserve("INFY"))
    assert stage.reserved().refused == (("INFY", "cooling down"),)
    await stage.after(1)
    await stage.say(stage.reserve("INFY"))
    assert [reservation.symbol for reservation in stage.reserved().granted] == ["INFY"]


async def test_check_and_reservation_are_one_step_so_one_turn_cannot_spend_a_slot_twice(stage_of: StageMaker) -> None:
    stage = await stage_of(limits=RiskLimits(max_positions=1))
    await stage.say(stage.enter(symbol="TCS"), stage.enter(symbol="INFY"))
    assert stage.rung(symbol="INFY").open
    assert stage.refusals("TCS") == ["no free slot: 1 of 1 rungs in use"]


async def test_exits_of_a_turn_come_before_its_entries_and_free_their_capital_by_the_next(stage_of: StageMaker) -> None:
    stage = await stage_of(limits=RiskLimits(max_positions=1))
    await stage.open_rung(protected=False)
    await stage.say(stage.enter(symbol="TCS"), stage.leave())
    sent = [order.side.value for order in stage.orders()]
    assert sent == ["BUY", "SELL"]
    await stage.say(stage.enter(symbol="TCS"))
    assert stage.rung(symbol="TCS").open


async def test_a_refusal_is_told_each_time_and_journalled_once(stage: RouterStage) -> None:
    await stage.ask(SetKillSwitch(True, "a person"))
    await stage.say(stage.enter())
    await stage.say(stage.enter())
    assert len(stage.refusals()) == 2
    assert stage.events("refused") == ["refused"]


async def test_the_kill_switch_refuses_entries_and_lets_exits_through(stage: RouterStage) -> None:
    await stage.open_rung()
    await stage.ask(SetKillSwitch(True, "a person"))
    await stage.say(stage.enter(symbol="TCS"), stage.leave())
    assert stage.refusals("TCS") == ["kill switch is on"]
    assert stage.rung().status is RungStatus.CLOSED


async def test_a_rung_is_entered_once_and_one_ladder_of_a_symbol_at_a_time(told: RouterStage) -> None:
    await told.say(told.enter())
    await told.say(told.enter(attempt=2), told.enter(ladder="INFY-2"))
    assert len(told.told.take()) == 1
    assert told.refusals() == ["used: P1 is ENTERING", "ladder INFY-1 is open"]


# --- a live entry ----------------------------------------------------------------------------------------


async def test_a_live_entry_is_a_limit_three_tenths_of_a_percent_above_the_decision_rounded_up(
    told: RouterStage,
) -> None:
    await told.say(told.enter(last_paise=149_990))
    (request,) = told.told.sent
    assert isinstance(request, PlaceOrder)
    assert (request.order_type, request.limit_paise) == (OrderType.LIMIT, 150_440)  # 150,439.97 paise


async def test_an_entry_that_is_not_complete_after_thirty_seconds_is_cancelled(told: RouterStage) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    news = told.told.order(request, OrderState.PARTIAL, filled=4, price=PRICE)
    await told.hear(news)
    await told.after(29.9)
    assert told.told.sent == []
    await told.after(0.1)
    assert told.told.take() == [CancelOrder(news.broker_id)]
    await told.hear(attrs.evolve(news, state=OrderState.CANCELLED))
    assert (told.rung().quantity, told.rung().entry_working) == (4, False)
    assert (await told.snapshot())["deployed_paise"] == 4 * PRICE


async def test_a_cancellation_is_asked_for_until_the_entry_has_ended(told: RouterStage) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    await told.after(30)
    assert told.told.take() == []  # the broker has not said its id yet
    news = told.told.order(request)
    await told.hear(news)
    await told.after(11)
    assert told.told.take() == 2 * [CancelOrder(news.broker_id)]
    await told.hear(attrs.evolve(news, state=OrderState.CANCELLED))
    await told.after(60)
    assert told.told.take() == []


async def test_an_abandoned_entry_is_cancelled_at_once_or_as_soon_as_it_can_be(told: RouterStage) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    wish = AbandonEntry(key="INFY-1:1:abandon:1", ladder="INFY-1", symbol="INFY", rung=1, at_ns=told.clock.now_ns)
    await told.say(wish)
    assert told.told.take() == []
    news = told.told.order(request)
    await told.hear(news)
    await told.after(5)
    assert told.told.take() == [CancelOrder(news.broker_id)]


async def test_nothing_filled_leaves_the_rung_unused_for_a_minute_and_counts_an_attempt(told: RouterStage) -> None:
    await told.say(told.enter())
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder)
    await told.hear(told.told.order(request, OrderState.CANCELLED))
    assert (told.rung().status, told.rung().attempts) == (RungStatus.FAILED, 1)
    assert (await told.snapshot())["slots"] == 0
    await told.after(59)
    await told.tick(INFY=PRICE)
    await told.say(told.enter(attempt=2))
    assert told.refusals() == ["too soon after the last attempt"]
    await told.after(1)
    await told.say(told.enter(attempt=2))
    assert len(told.told.take()) == 1


async def test_a_rung_is_tried_three_times_per_ladder(told: RouterStage) -> None:
    for attempt in (1, 2, 3):
        await told.say(told.enter(attempt=attempt))
        (request,) = told.told.take()
        assert isinstance(request, PlaceOrder)
        await told.hear(told.told.order(request, OrderState.CANCELLED))
        await told.after(60)
        await told.tick(INFY=PRICE)
    await told.say(told.enter(attempt=4))
    assert told.told.take() == []
    assert told.refusals() == ["attempts: 3 of 3 ended with nothing bought"]


# --- rejections must not eat the day ------------------------------------------------------------------------


async def rejected(told: RouterStage, number: int, text: str, symbol: str = "INFY") -> None:
    await told.say(told.enter(symbol=symbol, ladder=f"{symbol}-{number}"))
    (request,) = told.told.take()
    assert isinstance(request, PlaceOrder), told.refusals(symbol)
    await told.hear(told.told.order(request, OrderState.REJECTED, message=text))


async def test_a_symbol_rejected_for_margin_is_blocked_for_the_day(told: RouterStage) -> None:
    await rejected(told, 1, "Insufficient margin")
    await told.after(120)
    await told.tick(INFY=PRICE)
    await told.say(told.enter(ladder="INFY-2"))
    assert told.refusals() == ["Insufficient margin", "rejected today: Insufficient margin"]


async def test_a_block_ends_with_its_day(told: RouterStage) -> None:
    await rejected(told, 1, "outside the circuit limits")
    await told.after(24 * 3600)
    await told.tick(INFY=PRICE)
    await told.say(told.enter(ladder="INFY-2"))
    assert len(told.told.take()) == 1


async def test_five_rejections_within_five_minutes_stop_the_accounts_entries(told: RouterStage) -> None:
    for number in range(5):
        await rejected(told, number, "a whim of the exchange", symbol=("INFY", "TCS")[number % 2])
        await told.after(61)
        await told.tick(INFY=PRICE, TCS=PRICE)
    assert told.alerts() == ["5 entries rejected within five minutes: kill switch on, a whim of the exchange"]
    await told.say(told.enter(ladder="INFY-9"))
    assert told.refusals()[-1] == "kill switch is on"


async def test_five_rejections_over_a_longer_time_stop_nothing(told: RouterStage) -> None:
    for number in range(5):
        await rejected(told, number, "a whim of the exchange")
        await told.after(80)
        await told.tick(INFY=PRICE)
    assert told.alerts() == []


async def test_paper_fills_in_parts_and_the_rung_follows_to_the_paisa(stage_of: StageMaker) -> None:
    stage = await stage_of(options=PaperOptions(partial_fills=True))
    await stage.say(stage.enter(quantity=20))
    for step in range(1, 20):
        await stage.after(1)
        await stage.tick(INFY=PRICE + 5 * step)
    (order,) = stage.orders()
    assert order.state is OrderState.COMPLETE
    assert (stage.rung().quantity, stage.rung().cost_paise) == (20, order.value_paise)
    assert not stage.rung().entry_working
