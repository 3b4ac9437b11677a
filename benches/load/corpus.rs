//! Cards as an algorithm team writes them, in Chinese and English: each is made from its number alone,
//! so that every run has the same hundred thousand.

use serde_json::{Value, json};

const SITES: [(&str, &str); 12] = [
    ("XJJX", "新疆金雪风电场"),
    ("GSJQ", "甘肃酒泉风电场"),
    ("NMWL", "内蒙古乌兰风电场"),
    ("HBZB", "河北张北风电场"),
    ("QHGH", "青海共和光伏电站"),
    ("NXZW", "宁夏中卫光伏电站"),
    ("JSRD", "江苏如东海上风电场"),
    ("FJPT", "福建平潭海上风电场"),
    ("SDWF", "山东潍坊光伏电站"),
    ("YNDL", "云南大理风电场"),
    ("HNZZ", "郑州城区负荷"),
    ("GDSZ", "深圳园区负荷"),
];

const TASKS: [(&str, &str); 10] = [
    ("ultra-short-term wind power forecast", "超短期风电功率预测"),
    ("short-term wind power forecast", "短期风电功率预测"),
    ("solar irradiance forecast", "太阳辐照度预测"),
    ("photovoltaic output forecast", "光伏出力预测"),
    ("day-ahead load forecast", "日前负荷预测"),
    ("wind speed correction", "数值天气预报风速订正"),
    ("power curve cleaning", "功率曲线异常数据清洗"),
    ("gearbox fault diagnosis", "齿轮箱故障诊断"),
    ("ramp event detection", "爬坡事件识别"),
    ("curtailment estimation", "弃风电量估算"),
];

const METHODS: [&str; 12] = [
    "LSTM-v2",
    "GBDT",
    "XGBoost",
    "TCN",
    "Transformer",
    "ARIMA",
    "SVR",
    "RandomForest",
    "CNN_LSTM",
    "Informer",
    "KNN",
    "LightGBM",
];

const WHY: [(&str, &str); 8] = [
    ("winter icing lowers the output of the northern turbines", "冬季覆冰使北侧机组出力下降"),
    ("retrained after the anemometers were replaced", "更换测风仪后重新训练"),
    ("the residuals show a daily cycle", "残差呈现明显的日周期"),
    ("missing values are filled by linear interpolation", "缺失值按线性插值补齐"),
    ("tuned by Bayesian optimisation on three years of data", "基于三年数据经贝叶斯优化调参"),
    (
        "features are hub height wind speed, temperature and pressure",
        "特征为轮毂高度风速、温度与气压",
    ),
    ("the ensemble weights follow the last seven days", "集成权重取自最近七天的误差"),
    ("meets the grid company's assessment rules", "满足电网公司考核细则要求"),
];

const PEOPLE: [&str; 6] = ["李明", "王芳", "张伟", "Anna Keller", "J. Moreno", "陈静"];

/// One card: its path below `/api/v1/cards/`, and its document.
pub(crate) struct Sheet {
    pub(crate) path: String,
    pub(crate) body: String,
}

/// The name of card `number`, and its kind.
pub(crate) fn name(number: u64) -> (&'static str, String) {
    let mut dice = Dice::of(number);
    let kind = match dice.below(20) {
        0..=9 => "model",
        10..=13 => "algorithm",
        14..=16 => "parameter",
        17..=18 => "dataset",
        _ => "application",
    };
    let (site, _) = dice.one_of(&SITES);
    let method = dice.one_of(&METHODS);
    (kind, format!("{site}-{method}-{number}"))
}

/// Card `number` in its `edition`: another edition has other content.
pub(crate) fn sheet(number: u64, edition: u64) -> Sheet {
    let (kind, name) = name(number);
    let mut dice = Dice::of(number);
    for _ in 0..3 {
        dice.next();
    }
    let (site, site_zh) = dice.one_of(&SITES);
    let (task, task_zh) = dice.one_of(&TASKS);
    let method = dice.one_of(&METHODS);
    let (why, why_zh) = dice.one_of(&WHY);
    let (also, also_zh) = dice.one_of(&WHY);
    let turbine = format!("R{}", 80_000 + dice.below(2000));
    let summary = match dice.below(3) {
        0 => format!("{site_zh}{task_zh}模型，{why_zh}。机组{turbine}。"),
        1 => format!("{method} for {task} at {site}: {why}; turbine {turbine}."),
        _ => format!("{site_zh} {method} {task_zh}: {why}, {turbine}"),
    };
    let mut card = json!({
        "summary": summary,
        "remark": format!("{also_zh}。{also}. Edition {edition}."),
        "labels": {
            "site": site, "season": dice.one_of(&["春", "夏", "秋", "冬"]),
            "team": dice.one_of(&["wind", "solar", "load"]),
        },
        "config": {
            "method": method, "horizon_h": dice.below(72), "rated_kw": 1500 + dice.below(3000),
            "learning_rate": 0.001, "hidden": [64, 32, dice.below(16)], "dropout": 0.2,
            "inputs": ["ws_hub", "wd_hub", "temperature", "pressure"],
        },
        "evaluation": {"rmse_pct": 5.0 + super::number(dice.below(100)) / 10.0, "bias_pct": -0.3},
    });
    add_own_fields(&mut card, kind, number, &mut dice);
    Sheet { path: format!("{kind}/{name}/1.0.0"), body: card.to_string() }
}

fn add_own_fields(card: &mut Value, kind: &str, number: u64, dice: &mut Dice) {
    let mut earlier = |wanted: &str| {
        let found = (0..40).map(|_| name(dice.below(number.max(1))));
        let found = found.filter(|(kind, _)| *kind == wanted).map(|(_, name)| name);
        found.last().unwrap_or_else(|| format!("first-{wanted}"))
    };
    let own = match kind {
        "model" => json!({
            "algorithm": format!("{}@1.0.0", earlier("algorithm")),
            "data": [format!("dataset:{}@1.0.0", earlier("dataset"))],
            "requires": [format!("parameter:{}@1.0.0", earlier("parameter"))],
        }),
        "application" => {
            json!({"requires": [format!("model:{}", earlier("model"))], "project": "grid"})
        }
        "algorithm" => json!({
            "author": PEOPLE.get(usize::try_from(number % 6).unwrap_or(0)), "license": "MIT",
            "homepage": "https://git.example.org/forecast",
        }),
        _ => json!({"datatype": "timeseries"}),
    };
    if let (Some(fields), Value::Object(own)) = (card.as_object_mut(), own) {
        fields.extend(own);
    }
}

/// What is searched for: a line for each way to ask, and its queries (percent-encoded parameters).
pub(crate) fn searches() -> Vec<(&'static str, Vec<String>)> {
    let word = |text: &str| format!("q={}", encoded(text));
    let phrase = |text: &str| format!("q={}", encoded(&format!("\"{text}\"")));
    let words =
        ["齿轮箱", "辐照度", "icing", "Bayesian", "Informer", "覆冰", "R80711", "风", "gearbox"];
    let phrases = WHY.iter().flat_map(|(en, zh)| {
        let start: String = en.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let start_zh: String = zh.chars().take(5).collect();
        [phrase(&start), phrase(&start_zh)]
    });
    let filtered = TASKS.iter().zip(SITES).map(|((_, task), (site, _))| {
        format!("{}&kind=model&stage=experiment&label=site:{site}", word(task))
    });
    let filtered_only = SITES.iter().map(|(site, _)| format!("kind=dataset&label=site:{site}"));
    vec![
        ("one word", words.iter().map(|text| word(text)).collect()),
        ("two words", TASKS.iter().map(|(en, _)| word(&en.replacen("term ", "", 1))).collect()),
        ("a phrase", phrases.collect()),
        ("words, kind, stage, label", filtered.collect()),
        ("kind and label alone", filtered_only.collect()),
    ]
}

/// Percent-encoding for a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn of(number: u64) -> Self {
        Self(number.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy + Default>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(at).copied().unwrap_or_default()
    }
}
