package publisher

// market is what the orders of one country have in common. All names are made up from common ones.
type market struct {
	locale, currency string
	scale            int64  // how many units of the currency a dollar is about worth
	phone, zip       string // # stands for a digit
	between          string // what stands between given and family name
	given, family    []string
	places           []place
	streets          []string
	providers        []string
	services         []string
}

type place struct{ city, region string }

// markets is a function and not a variable, so that nobody can change what others read.
func markets() []market {
	return []market{
		{
			locale: "en", currency: "USD", scale: 1, phone: "+1 (###) 555-01##", zip: "#####", between: " ",
			given:     []string{"Test", "Mary-Jane", "D'Angelo", "Anne Marie", "Zoë", "Bob"},
			family:    []string{"Testov", "O'Brien", "Smith Jr.", "St. John", "Núñez", "Li"},
			places:    []place{{"Truth or Consequences", "New Mexico"}, {"Coeur d'Alene", "Idaho"}, {"New York", "NY"}},
			streets:   []string{"Main St, Apt.", "Martin Luther King Jr. Blvd", "Rue d'Orléans", "5th Ave #"},
			providers: []string{"wbpay", "stripe", "paypal"}, services: []string{"meest", "ups", "fedex"},
		},
		{
			locale: "ru", currency: "RUB", scale: 90, phone: "+7 9## ###-##-##", zip: "######", between: " ",
			given:     []string{"Алёна", "Пётр", "Мария", "Иван", "Фёкла", "Юрий"},
			family:    []string{"Ким", "Гончар", "Черных", "Бондаренко", "Живаго", "Салтыков-Щедрин"},
			places:    []place{{"Москва", "Московская область"}, {"Санкт-Петербург", "Северо-Запад"}, {"Йошкар-Ола", "Марий Эл"}},
			streets:   []string{"площадь Мира,", "ул. 8 Марта, д.", "наб. реки Фонтанки,", "Ленинский просп., кв."},
			providers: []string{"wbpay", "yookassa"}, services: []string{"cdek", "boxberry", "Почта России"},
		},
		{
			locale: "uk", currency: "UAH", scale: 40, phone: "+380 ## ### ## ##", zip: "#####", between: " ",
			given:     []string{"Любов", "Олексій", "Дар'я", "Їванна"},
			family:    []string{"Шевченко", "Лук'яненко", "Ґудзь", "Приходько"},
			places:    []place{{"Київ", "Київська область"}, {"Кам'янець-Подільський", "Хмельницька область"}},
			streets:   []string{"вул. Хрещатик,", "просп. Свободи,", "пров. Щасливий,"},
			providers: []string{"liqpay", "wbpay"}, services: []string{"Нова пошта", "meest"},
		},
		{
			locale: "kk", currency: "KZT", scale: 480, phone: "+7 7## ### ## ##", zip: "0#####", between: " ",
			given:     []string{"Айгүл", "Нұрлан", "Қымбат", "Әсел"},
			family:    []string{"Ахметов", "Сәтбаев", "Жұмабай", "Оспанова"},
			places:    []place{{"Алматы", "Алматы облысы"}, {"Өскемен", "Шығыс Қазақстан"}},
			streets:   []string{"Абай даңғылы,", "Төле би көшесі,", "Қабанбай батыр,"},
			providers: []string{"kaspi", "wbpay"}, services: []string{"kazpost", "cdek"},
		},
		{
			locale: "he", currency: "ILS", scale: 4, phone: "+972 5# ### ####", zip: "#######", between: " ",
			given:     []string{"נועה", "דוד", "ז'קלין", "Test"},
			family:    []string{"כהן", "לוי", "בן-דוד", "Testov"},
			places:    []place{{"Kiryat Mozkin", "Kraiot"}, {"תל אביב-יפו", "גוש דן"}},
			streets:   []string{"Ploshad Mira", "רחוב הרצל", "שד' רוטשילד"},
			providers: []string{"wbpay", "paypal"}, services: []string{"meest", "דואר ישראל"},
		},
		{
			locale: "ar", currency: "AED", scale: 4, phone: "+971 5# ### ####", zip: "", between: " ",
			given:     []string{"ليلى", "محمد", "عبد الله", "نور"},
			family:    []string{"الهاشمي", "بن راشد", "حداد"},
			places:    []place{{"دبي", "إمارة دبي"}, {"أبو ظبي", "إمارة أبو ظبي"}},
			streets:   []string{"شارع الشيخ زايد", "شارع المكتوم"},
			providers: []string{"tabby", "paypal"}, services: []string{"aramex", "dhl"},
		},
		{
			locale: "ja", currency: "JPY", scale: 150, phone: "+81 90 #### ####", zip: "###-####", between: " ",
			given:     []string{"さくら", "太郎", "ユキ", "𠮷子"},
			family:    []string{"山田", "髙橋", "𠮷野", "五十嵐"},
			places:    []place{{"東京都千代田区", "関東"}, {"札幌市", "北海道"}},
			streets:   []string{"丸の内一丁目", "大通西", "北三条東"},
			providers: []string{"paypay", "stripe"}, services: []string{"ヤマト運輸", "佐川急便"},
		},
		{
			locale: "zh", currency: "CNY", scale: 7, phone: "+86 13# #### ####", zip: "######", between: "",
			given:     []string{"伟", "秀英", "小龙", "思远"},
			family:    []string{"王", "李", "欧阳", "诸葛"},
			places:    []place{{"上海", "华东"}, {"乌鲁木齐", "新疆"}},
			streets:   []string{"南京东路", "人民大道", "友好北路"},
			providers: []string{"alipay", "wechat"}, services: []string{"顺丰", "中国邮政"},
		},
		{
			locale: "el", currency: "EUR", scale: 1, phone: "+30 69# ### ####", zip: "### ##", between: " ",
			given:     []string{"Ελένη", "Γιώργος", "Μαρία-Άννα"},
			family:    []string{"Παπαδοπούλου", "Νικολαΐδης", "Ζαΐμης"},
			places:    []place{{"Αθήνα", "Αττική"}, {"Θεσσαλονίκη", "Μακεδονία"}},
			streets:   []string{"Λεωφόρος Αλεξάνδρας", "Οδός Ερμού", "Πλατεία Συντάγματος"},
			providers: []string{"viva", "paypal"}, services: []string{"ΕΛΤΑ", "acs"},
		},
		{
			locale: "de", currency: "EUR", scale: 1, phone: "+49 15## #######", zip: "#####", between: " ",
			given:     []string{"Jürgen", "Käthe", "Wolf-Dieter", "Aslı"},
			family:    []string{"Groß", "von der Heide", "Müller-Lüdenscheidt", "Yıldız"},
			places:    []place{{"Köln", "Nordrhein-Westfalen"}, {"Weißenfels", "Sachsen-Anhalt"}},
			streets:   []string{"Straße des 17. Juni", "Am Brüllgraben", "Königsallee"},
			providers: []string{"klarna", "paypal"}, services: []string{"dhl", "hermes"},
		},
		{
			locale: "hi", currency: "INR", scale: 83, phone: "+91 9#### #####", zip: "######", between: " ",
			given:     []string{"प्रिया", "राज", "आदित्य"},
			family:    []string{"शर्मा", "त्रिपाठी", "सिंह"},
			places:    []place{{"मुंबई", "महाराष्ट्र"}, {"Thiruvananthapuram", "Kerala"}},
			streets:   []string{"महात्मा गांधी मार्ग", "लिंक रोड"},
			providers: []string{"razorpay", "upi"}, services: []string{"delhivery", "India Post"},
		},
	}
}

// good is an article; price is the lowest in dollars.
type good struct {
	name, brand string
	price       int64
	sizes       []string
}

func goods() []good {
	none := []string{"0"}
	letters := []string{"XS", "S", "M", "L", "XL", "XXL"}
	return []good{
		{"Mascaras", "Vivienne Sabo", 5, none},
		{"Тушь для ресниц «Cabaret»", "Vivienne Sabo", 5, none},
		{"T-shirt, 100% cotton", "Levi's", 15, letters},
		{"Худи оверсайз", "Твоё", 20, letters},
		{"Sneakers", "Nike", 60, []string{"38", "39", "40", "41", "42", "43½"}},
		{"Робот-пылесос", "Xiaomi", 150, none},
		{"抹茶 100 g", "一保堂", 12, none},
		{"Children's book \"Колобок\"", "Азбука-Аттикус", 4, none},
		{"Bettwäsche 135×200", "IKEA", 25, []string{"135x200", "155x220"}},
		{"USB-C cable <2 m>", "Anker & Co.", 8, none},
		{"Stickers 😀🎉", "L'Étoile", 1, none},
		{"Wedding ring", "Tiffany & Co.", 900, []string{"15.5", "16", "17", "18"}},
	}
}

func banks() []string {
	return []string{"alpha", "Сбер", "Т-Банк", "Crédit Agricole", "ПриватБанк", "三菱UFJ銀行", "J.P. Morgan", "בנק לאומי", "Halyk"}
}

func mailboxes() []string {
	return []string{"test", "first.last", "o-brien", "orders+box", "no_reply", "x"}
}

// mailDomains are reserved by RFC 2606: nobody reads them.
func mailDomains() []string {
	return []string{"example.com", "example.org", "mail.example.net"}
}
