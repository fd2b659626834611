import re
from tests.conftest import counted

def test_smoke(client, app, alice, ada):
    for p in ["/", "/auth/login", "/auth/register", "/auth/logout", "/auth/verify-email", "/auth/verify-email/request", "/auth/forgot-password", "/auth/reset-password", "/dev/mail", "/dev/mail.json", "/dashboard"]:
        print(p, client.get(p).status)
    r = client.sign_in(alice); print(r.status, r.headers)
    with counted() as s:
        r = client.get("/dashboard")
    print(r.status, len(s), s)
    for p in ["/account/profile", "/account/email", "/account/password", "/account/devices", "/account/history", "/auth/profile"]:
        r = client.get(p); print(p, r.status)
    r = client.submit("/account/profile", name="Alice Two"); print(r.status, r.location)
    r = client.submit("/account/password", current_password=alice.password, new_password="copper violin seventeen"); print(r.status, r.headers)
    print(client.get("/account/password").status)
    r = client.submit("/account/email", email="new@example.com", current_password="copper violin seventeen"); print(r.status, r.location)
    print("pending" , "new@example.com" in client.get("/account/email").text)
    r = client.submit("/auth/logout"); print(r.headers)
    other = app.test_client()
    other.sign_in(ada)
    with counted() as s:
        print(other.get("/dashboard").status, len(s))
    r = client.submit("/auth/register", email="x@example.com", name="X Y", password="copper violin seventeen")
    print(r.status, r.location, client.get(r.location).status)
    mails = client.get("/dev/mail.json").json
    print([m["subject"] for m in mails])
    link = re.search(r"http://localhost(/auth/verify-email\?token=\S+)", mails[0]["text"])[1]
    r = client.get(link); print(r.status, r.location)
    r = client.get(r.location); print(r.status)
    tok = re.search(r'name="token" value="([^"]+)"', r.text)[1]
    r = client.submit("/auth/verify-email", token=tok); print(r.status, r.location)
    print(client.get("/auth/verify-email").status, client.get(link).status)
    r = client.post("/auth/login", json={"email": "x@example.com", "password": "copper violin seventeen"}); print(r.status, r.json, r.headers.get("set-cookie"))
    print(client.get("/auth/profile", headers={"Accept": "application/json"}).json)
