"""The shares of the simulated market.

Owns a list of names. The symbols are real NSE tickers so that screens look familiar; prices, tokens and
everything that happens to them are invented. Used by simulated.py.
"""

from __future__ import annotations

from market.instruments import Instrument, Universe, nse_tick_size_paise

# symbol, name, price in rupees around which it lives, whether derivatives are traded on it
SHARES = (
    ("ADANIPORTS", "Adani Ports", 1340, True),
    ("APOLLOTYRE", "Apollo Tyres", 480, True),
    ("ASHOKLEY", "Ashok Leyland", 232, True),
    ("ASIANPAINT", "Asian Paints", 2410, True),
    ("AUROPHARMA", "Aurobindo Pharma", 1130, True),
    ("AXISBANK", "Axis Bank", 1170, True),
    ("BAJAJFINSV", "Bajaj Finserv", 1980, True),
    ("BANKBARODA", "Bank of Baroda", 244, True),
    ("BATAINDIA", "Bata India", 1210, False),
    ("BEL", "Bharat Electronics", 395, True),
    ("BHARATFORG", "Bharat Forge", 1225, True),
    ("BHARTIARTL", "Bharti Airtel", 1880, True),
    ("BHEL", "Bharat Heavy Electricals", 248, True),
    ("BIOCON", "Biocon", 355, True),
    ("BPCL", "Bharat Petroleum", 322, True),
    ("CANBK", "Canara Bank", 112, True),
    ("CIPLA", "Cipla", 1495, True),
    ("COALINDIA", "Coal India", 388, True),
    ("CROMPTON", "Crompton Greaves", 331, True),
    ("DABUR", "Dabur India", 512, True),
    ("DIVISLAB", "Divi's Laboratories", 6650, True),
    ("DLF", "DLF", 772, True),
    ("EXIDEIND", "Exide Industries", 384, True),
    ("FEDERALBNK", "Federal Bank", 203, True),
    ("GAIL", "GAIL India", 184, True),
    ("GLENMARK", "Glenmark Pharmaceuticals", 1715, True),
    ("GRANULES", "Granules India", 498, False),
    ("GUJGASLTD", "Gujarat Gas", 466, False),
    ("HAVELLS", "Havells India", 1545, True),
    ("HDFCBANK", "HDFC Bank", 985, True),
    ("HINDALCO", "Hindalco Industries", 690, True),
    ("HINDUNILVR", "Hindustan Unilever", 2365, True),
    ("ICICIBANK", "ICICI Bank", 1425, True),
    ("IDFCFIRSTB", "IDFC First Bank", 72, True),
    ("INDIACEM", "India Cements", 338, False),
    ("INDUSINDBK", "IndusInd Bank", 856, True),
    ("INFY", "Infosys", 1585, True),
    ("ITC", "ITC", 415, True),
    ("JINDALSTEL", "Jindal Steel", 962, True),
    ("JSWSTEEL", "JSW Steel", 1045, True),
    ("KARURVYSYA", "Karur Vysya Bank", 262, False),
    ("LT", "Larsen & Toubro", 3590, True),
    ("LUPIN", "Lupin", 1940, True),
    ("M&M", "Mahindra & Mahindra", 3120, True),
    ("MANAPPURAM", "Manappuram Finance", 268, True),
    ("MARUTI", "Maruti Suzuki", 12400, True),
    ("NCC", "NCC", 219, False),
    ("NMDC", "NMDC", 71, True),
    ("NTPC", "NTPC", 337, True),
    ("ONGC", "Oil & Natural Gas", 243, True),
    ("PETRONET", "Petronet LNG", 291, True),
    ("POWERGRID", "Power Grid", 288, True),
    ("RELIANCE", "Reliance Industries", 1415, True),
    ("SBIN", "State Bank of India", 812, True),
    ("SUNPHARMA", "Sun Pharmaceutical", 1665, True),
    ("TATAPOWER", "Tata Power", 402, True),
    ("TATASTEEL", "Tata Steel", 158, True),
    ("TCS", "Tata Consultancy Services", 3140, True),
    ("TITAN", "Titan", 3480, True),
    ("VEDL", "Vedanta", 441, True),
    ("VOLTAS", "Voltas", 1305, True),
    ("WIPRO", "Wipro", 252, True),
)

FIRST_EXCHANGE_TOKEN = 1_000
NSE_SEGMENT = 1  # low byte of a Kite token


def simulated_universe() -> Universe:
    """The 62 shares, with the tick size NSE gives a share of their price."""
    return Universe(
        Instrument(
            symbol=symbol,
            token=(FIRST_EXCHANGE_TOKEN + number) << 8 | NSE_SEGMENT,
            tick_size_paise=nse_tick_size_paise(rupees * 100),
            name=name,
            derivatives=derivatives,
        )
        for number, (symbol, name, rupees, derivatives) in enumerate(SHARES)
    )


def home_prices() -> dict[str, int]:
    """The price around which each symbol lives, in paise."""
    return {symbol: rupees * 100 for symbol, _, rupees, _ in SHARES}
