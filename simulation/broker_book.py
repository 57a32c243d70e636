"""One account's books as its clients read them: orders, GTTs and trades of the last days, each change recorded.

Owns what the wire says of an order beyond the engine's own update: its sequence number, its fills one by one, when
it was placed. Never decides anything. Called by broker_exchange.py with every update of the account's engine.
"""

from __future__ import annotations

import attrs

from protocol.broker import GttUpdate, OrderUpdate, TradeRow
from protocol.broker_wire_books import read_trade, trade_row
from protocol.broker_wire_fields import Fields, Json
from protocol.broker_wire_rows import Fill, GttReport, OrderReport, gtt_row, order_row, read_gtt, read_order
from protocol.clock import DAY_S, NS
from protocol.orders import GttState, OrderState, OrderType
from simulation.broker_record import Record

KEPT_NS = 8 * DAY_S * NS  # broker-protocol.md: the books keep at least 7 days
TRADING = frozenset({OrderState.OPEN, OrderState.PARTIAL})


@attrs.frozen
class Form:
    """What an order was asked to be, which the engine's updates do not say."""

    order_type: OrderType
    trigger_paise: int | None = None


CHILD = Form(OrderType.LIMIT)  # what a GTT releases


class AccountBook:
    """`id_prefix` makes the ids of trades unique among accounts and starts of the server."""

    def __init__(self, account: str, record: Record, id_prefix: str = "") -> None:
        self.id_prefix = id_prefix
        self.orders: dict[str, OrderReport] = {}
        self.gtts: dict[str, GttReport] = {}
        self.trades: list[TradeRow] = []
        self.ghosts: set[str] = set()  # said to be cancelled, and still able to trade (trouble "late_fill")
        self._account = account
        self._record = record
        self._trade_count = 0
        self._order_ids: dict[str, str] = {}  # by client id
        self._gtt_ids: dict[str, str] = {}

    def order_placed_as(self, client_id: str) -> OrderReport | None:
        return self.orders.get(self._order_ids.get(client_id, ""))

    def gtt_placed_as(self, client_id: str) -> GttReport | None:
        return self.gtts.get(self._gtt_ids.get(client_id, ""))

    def note_order(self, update: OrderUpdate, form: Form | None = None) -> OrderReport | None:
        """The order became this; None when that is no news. The form stays when none is given."""
        old = self.orders.get(update.broker_id)
        update = self._shown(update)
        if old is None:
            form = form or CHILD
            report = OrderReport(
                update=update,
                order_type=form.order_type,
                trigger_paise=form.trigger_paise,
                fills=(),
                seq=0,
                placed_ns=update.at_ns,
            )
        else:
            report = attrs.evolve(old, update=update)
            if form is not None:
                report = attrs.evolve(report, order_type=form.order_type, trigger_paise=form.trigger_paise)
            if report == old:
                return None
        report = attrs.evolve(report, seq=report.seq + 1, fills=self._with_new_fill(report, old))
        self._keep_order(report)
        self._record.write({"account": self._account, "order": order_row(report)})
        return report

    def note_gtt(self, update: GttUpdate) -> GttReport:
        """The GTT became this."""
        old = self.gtts.get(update.gtt_id)
        report = GttReport(update=update, placed_ns=update.at_ns if old is None else old.placed_ns)
        self._keep_gtt(report)
        self._record.write({"account": self._account, "gtt": gtt_row(report)})
        return report

    def forget_old(self, now_ns: int) -> None:
        """Drop what is over since more than the days kept."""
        first_ns = now_ns - KEPT_NS
        for report in tuple(self.orders.values()):
            if report.update.at_ns < first_ns and report.update.state not in TRADING:
                del self.orders[report.update.broker_id]
                self._order_ids.pop(report.update.client_id or "", None)
        for gtt in tuple(self.gtts.values()):
            if gtt.update.at_ns < first_ns and gtt.update.state is not GttState.ACTIVE:
                del self.gtts[gtt.update.gtt_id]
                self._gtt_ids.pop(gtt.update.client_id or "", None)
        self.trades = [trade for trade in self.trades if trade.at_ns >= first_ns]

    def load(self, line: Json) -> TradeRow | None:
        """A line of the record, without recording it again; the trade, if it is one."""
        fields = Fields(line)
        if fields.has("order"):
            self._keep_order(read_order(fields.part("order")))
        elif fields.has("gtt"):
            self._keep_gtt(read_gtt(fields.part("gtt")))
        elif fields.has("trade"):
            self.trades.append(read_trade(fields.part("trade")))
            return self.trades[-1]
        return None

    def _keep_order(self, report: OrderReport) -> None:
        self.orders[report.update.broker_id] = report
        if report.update.client_id is not None:
            self._order_ids[report.update.client_id] = report.update.broker_id

    def _keep_gtt(self, report: GttReport) -> None:
        self.gtts[report.update.gtt_id] = report
        if report.update.client_id is not None:
            self._gtt_ids[report.update.client_id] = report.update.gtt_id

    def _shown(self, update: OrderUpdate) -> OrderUpdate:
        """The update in the wire's words; a ghost stays cancelled, whatever it still trades."""
        if update.broker_id in self.ghosts and update.state in TRADING:
            message = self.orders[update.broker_id].update.message
            update = attrs.evolve(update, state=OrderState.CANCELLED, message=message)
        waits = update.raw_status == "TRIGGER PENDING" and update.state is OrderState.OPEN
        return attrs.evolve(update, raw_status="PENDING" if waits else update.state.value)

    def _with_new_fill(self, report: OrderReport, old: OrderReport | None) -> tuple[Fill, ...]:
        """All fills; the engine trades an order at most once per update, so the difference is one fill."""
        update = report.update
        filled_before, value_before = (0, 0) if old is None else (old.update.filled, old.update.value_paise)
        quantity = update.filled - filled_before
        fills = report.fills or ()
        if not quantity:
            return fills
        price, rest = divmod(update.value_paise - value_before, quantity)
        assert not rest, f"order {update.broker_id}: {quantity} shares were traded at more than one price"
        self._trade_count += 1
        trade = TradeRow(
            trade_id=f"T{self.id_prefix}-{self._trade_count}",
            broker_id=update.broker_id,
            client_id=update.client_id,
            symbol=update.symbol,
            side=update.side,
            quantity=quantity,
            price_paise=price,
            at_ns=update.at_ns,
        )
        self.trades.append(trade)
        self._record.write({"account": self._account, "trade": trade_row(trade)})
        return (*fills, Fill(trade.trade_id, quantity, price))
