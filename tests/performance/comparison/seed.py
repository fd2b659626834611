"""Fill the project's database for a comparison: users, API sessions, and a file with their access tokens.

    DATABASE_URL=… FLASK_CONFIG=development python tests/performance/comparison/seed.py --rows 10000 --tokens 1000 \
        --output "$BENCH_CACHE/portico-tokens.txt"

For a database of its own, made by `flask db upgrade`. Tokens live ten minutes: seed right before the run.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from sqlalchemy import insert, text  # noqa: E402 - the project is found only now

from app import create_app  # noqa: E402
from models import User, UserSession, db  # noqa: E402
from models.base import now  # noqa: E402
from services import token_service  # noqa: E402
from services.base_service import unit_of_work  # noqa: E402
from services.session_service import API_ABSOLUTE  # noqa: E402

FILL = text(
    "INSERT INTO users (email, name, role, email_verified, created_at)"
    " SELECT 'user' || i || '@example.com', 'Name ' || i, 'admin', true, now() - i * interval '1 minute'"
    " FROM generate_series(1, :rows) AS i ON CONFLICT DO NOTHING"
)


def main() -> None:
    """Fill, sign in and write the tokens."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--output", type=Path, required=True)
    wanted = parser.parse_args()
    app = create_app()
    with app.app_context():
        with unit_of_work():
            db.session.execute(FILL, {"rows": wanted.rows})
        with unit_of_work():
            users = db.session.scalars(db.select(User.id).order_by(User.id).limit(wanted.tokens)).all()
            moment = now()
            sessions = [
                {
                    "user_id": user,
                    "kind": "api",
                    "device_name": "load",
                    "last_seen_at": moment,
                    "expires_at": moment + API_ABSOLUTE,
                }
                for user in users
            ]
            made = db.session.execute(
                insert(UserSession).returning(UserSession.user_id, UserSession.id), sessions
            )
            tokens = [token_service.make_access_token(row.user_id, row.id, generation=0) for row in made]
    wanted.output.write_text("\n".join(tokens) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
