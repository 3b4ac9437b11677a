"""The pages, in a real browser: at a desk and on a phone, in both languages.

SUITE_SCREENSHOTS names a folder for pictures of every page.
"""

import os
import tempfile
import time
from urllib.parse import urlsplit

import requests
from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from suite import PASSWORD, TOKEN, URL, check, done, same

PICTURES = os.environ.get("SUITE_SCREENSHOTS")
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


def started(options):
    """On a busy machine the browser may end before it has begun: that is no fault of a page."""
    for patience in (5, 15, None):
        try:
            return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        except SessionNotCreatedException:
            if patience is None:
                raise
            time.sleep(patience)


def browser(size, profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync --lang=en"
    ).split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.add_argument("--window-size={},{}".format(*size))
    options.add_experimental_option("prefs", {"intl.accept_languages": "en"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = started(options)
    # A window of a desk has a least width; the metrics of the device have none.
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600},
    )
    driver.set_page_load_timeout(60)
    return driver


class Visit:
    """One visit with one size of window."""

    def __init__(self, driver, name):
        self.driver = driver
        self.name = name

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def until(self, what, condition):
        WebDriverWait(self.driver, 30).until(lambda _: condition(), f"{self.name}: {what}")

    def go(self, path):
        self.driver.get(URL + path)

    def click(self, element):
        """Clicks what leads to another page, and waits for that page."""
        old = self.one("html")
        element.click()
        WebDriverWait(self.driver, 30).until(lambda _: self.is_gone(old))
        self.until("it loads", lambda: self.driver.execute_script("return document.readyState") == "complete")

    @staticmethod
    def is_gone(element):
        try:
            element.is_enabled()
            return False
        except Exception:  # the driver says in several ways that a page is gone
            return True

    def look(self, page, expected_errors=()):
        """What must hold of every page."""
        where = f"{self.name}, {page}"
        widths = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        check(f"{where}: nothing sticks out sideways", widths[0] <= widths[1], widths)
        script = "return performance.getEntries().map(e => e.name).filter(n => n.includes('://'))"
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(n)) for n in self.driver.execute_script(script)}
        check(f"{where}: every request stays with the daemon", origins <= {URL}, origins)
        # Hints to developers are of a lower level than what went wrong.
        log = [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
        said = [m for m in log if not any(e in m for e in expected_errors)]
        same(f"{where}: the console is silent", said, [])
        fields = self.driver.execute_script(
            "return [...document.querySelectorAll('input:not([type=hidden]), textarea')]"
            ".filter(f => !f.labels.length && !f.ariaLabel).map(f => f.outerHTML)"
        )
        same(f"{where}: every field has a label", fields, [])
        if PICTURES:
            os.makedirs(PICTURES, exist_ok=True)
            self.driver.save_screenshot(f"{PICTURES}/{self.name}-{page}.png")

    def sign_in(self, password):
        self.one("#username").send_keys("admin")
        self.one("#password").send_keys(password)
        self.click(self.one("main form button"))

    def text(self):
        return self.one("body").text


def sign_in(visit):
    visit.go("/")
    same(f"{visit.name}: the page is in the browser's language", visit.one("html").get_attribute("lang"), "en")
    visit.look("sign-in")
    visit.sign_in("not the password")
    alert = visit.all("[role=alert]")
    check(f"{visit.name}: a wrong password says so", alert and "wrong" in alert[0].text, visit.text())
    # The browser itself notes the status of the page.
    visit.look("sign-in-wrong", expected_errors=["401"])
    visit.sign_in(PASSWORD)
    check(f"{visit.name}: it is signed in", visit.all("header form button"), visit.text())
    cookies = {c["name"]: c for c in visit.driver.get_cookies()}
    session = cookies.get("drip_session", {})
    check(f"{visit.name}: scripts cannot read the session", session.get("httpOnly"), session)


def overview(visit):
    counts = requests.get(f"{URL}/api/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}).json()["counts"]
    shown = {
        section.find_element(By.TAG_NAME, "h2").text: [int(d.text) for d in section.find_elements(By.TAG_NAME, "dd")]
        for section in visit.all("section.module")
    }
    same(f"{visit.name}: every module is there", set(shown), set(counts))
    for module, nouns in counts.items():
        # A module without anything says what to try instead of showing noughts.
        expected = list(nouns.values()) if any(nouns.values()) else []
        same(f"{visit.name}: the counts of {module}", shown.get(module), expected)
    visit.look("overview")


def languages(visit):
    visit.click(visit.one("a[hreflang=zh]"))
    same(f"{visit.name}: it says that it is Chinese", visit.one("html").get_attribute("lang"), "zh")
    for word in ("总览", "退出", "数据集"):
        check(f"{visit.name}: the overview says {word}", word in visit.text())
    visit.look("overview-zh")
    visit.go("/docs")
    check(f"{visit.name}: the language stays", "接口" in visit.one("h1").text)
    visit.look("docs-zh")
    visit.click(visit.one("a[hreflang=en]"))
    same(f"{visit.name}: and back", visit.one("html").get_attribute("lang"), "en")


def try_call(visit, method, path, fill=lambda form: None):
    """Tries a call on the page and answers what is shown."""
    for call in visit.all("details.call"):
        form = call.find_element(By.CSS_SELECTOR, "form.try")
        field = form.find_element(By.NAME, "path")
        if form.get_attribute("data-method") == method and field.get_attribute("value") == path:
            if not call.get_attribute("open"):
                call.find_element(By.TAG_NAME, "summary").click()
            fill(form)
            form.find_element(By.TAG_NAME, "button").click()
            shown = form.find_element(By.TAG_NAME, "pre")
            visit.until("an answer", lambda: shown.text[:3].isdigit())
            return shown.text
    return f"no call {method} {path} on the page"


def docs(visit):
    visit.go("/docs")
    described = requests.get(f"{URL}/openapi.json").json()["paths"]
    calls = sum(len(methods) for methods in described.values())
    listed = len(visit.all("details.call"))
    check(f"{visit.name}: the page lists every call that is described", listed >= calls, (listed, calls))
    answer = try_call(visit, "GET", "/api/v1/whoami")
    check(f"{visit.name}: a call with the sign-in answers", answer.startswith("200") and '"admin"' in answer, answer)
    visit.one("#token").send_keys(TOKEN)
    answer = try_call(visit, "GET", "/api/v1/whoami")
    check(f"{visit.name}: a call with a token answers", answer.startswith("200") and '"*:write"' in answer, answer)

    def fill(form):
        field = form.find_element(By.NAME, "path")
        field.clear()
        field.send_keys("/api/v1/logs")
        form.find_element(By.NAME, "body").send_keys('[{"message": "from the page", "level": "INFO"}]')

    answer = try_call(visit, "POST", "/api/v1/logs", fill)
    check(f"{visit.name}: a call with a body answers", answer.startswith("200") and '"accepted": 1' in answer, answer)
    visit.one("#token").clear()
    visit.one("#token").send_keys("drip_wrong")
    answer = try_call(visit, "GET", "/api/v1/whoami")
    check(f"{visit.name}: a refusal is shown as it is", answer.startswith("401") and "unauthenticated" in answer, answer)
    visit.look("docs", expected_errors=["401"])


def without_scripts(visit):
    """The pages work without scripts; the one form that needs them says so."""
    visit.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit.go("/docs")
    check(f"{visit.name}: the calls can be read without scripts", len(visit.all("details.call")) > 50)
    visit.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def sign_out(visit):
    visit.go("/")
    visit.click(visit.one("header form button"))
    check(f"{visit.name}: it is signed out", visit.all("#password"), visit.text())
    visit.driver.back()
    visit.driver.refresh()
    check(f"{visit.name}: going back shows nothing any more", not visit.all("section.module"))
    visit.go("/?lang=zh")
    visit.look("sign-in-zh")
    visit.go("/?lang=en")


for name, size in SIZES.items():
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(size, profile)
        try:
            visit = Visit(driver, name)
            for part in (sign_in, overview, languages, docs, without_scripts, sign_out):
                part(visit)
        finally:
            driver.quit()
done()
