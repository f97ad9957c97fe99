"""What the demonstration shop sells: categories, articles with a usual price range, and how they vary.

Every name is there in French and in English, as in a shop in Québec; prices are in cents of the shop's own currency.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Article:
    """A kind of thing that is sold from `low_cents` to `high_cents`."""

    french: str
    english: str
    low_cents: int
    high_cents: int


@dataclass(frozen=True)
class Variant:
    """What sets one article apart from its like, written behind the article's name."""

    french: str
    english: str


CATEGORIES: dict[str, tuple[Article, ...]] = {
    "Épicerie fine": (
        Article("Sirop d’érable", "Maple syrup", 899, 2499),
        Article("Confiture de bleuets", "Blueberry jam", 499, 1099),
        Article("Moutarde à l’ancienne", "Whole-grain mustard", 399, 899),
        Article("Huile d’olive", "Olive oil", 999, 3299),
        Article("Miel de sarrasin", "Buckwheat honey", 799, 1899),
        Article("Vinaigre de cidre", "Cider vinegar", 499, 1299),
        Article("Crème d’érable à tartiner", "Maple butter", 699, 1499),
        Article("Biscuits à l’avoine", "Oatmeal cookies", 349, 799),
    ),
    "Café et thé": (
        Article("Café en grains", "Coffee beans", 1299, 2899),
        Article("Café décaféiné", "Decaf coffee", 1399, 2799),
        Article("Thé vert", "Green tea", 799, 2199),
        Article("Thé à la bergamote", "Bergamot tea", 799, 1999),
        Article("Tisane à la camomille", "Chamomile infusion", 599, 1499),
        Article("Thé noir fumé", "Smoked black tea", 899, 2299),
        Article("Chocolat chaud", "Hot chocolate", 799, 1799),
        Article("Maté grillé", "Roasted maté", 799, 1699),
    ),
    "Cuisine": (
        Article("Poêle à frire", "Frying pan", 2999, 12999),
        Article("Cocotte en fonte", "Cast-iron Dutch oven", 7999, 29999),
        Article("Couteau d’office", "Paring knife", 1299, 5999),
        Article("Planche à découper", "Cutting board", 1999, 7999),
        Article("Moule à gâteau", "Cake tin", 1299, 3499),
        Article("Saladier", "Salad bowl", 1499, 5499),
        Article("Théière", "Teapot", 2499, 7999),
        Article("Cafetière à piston", "French press", 2499, 6999),
        Article("Râpe à fromage", "Cheese grater", 999, 3299),
        Article("Emporte-pièce de Noël", "Christmas cookie cutter", 299, 999),
    ),
    "Arts de la table": (
        Article("Assiette plate", "Dinner plate", 999, 3499),
        Article("Tasse à café", "Coffee mug", 899, 2499),
        Article("Bol à soupe", "Soup bowl", 899, 2999),
        Article("Verre à pied", "Stemmed glass", 799, 2999),
        Article("Nappe", "Tablecloth", 2499, 8999),
        Article("Serviette de table", "Table napkin", 499, 1999),
        Article("Carafe à décanter", "Decanter", 2999, 9999),
        Article("Présentoir à gâteaux", "Cake stand", 1999, 6999),
        Article("Sous-verre", "Coaster", 299, 1299),
    ),
    "Décoration": (
        Article("Lanterne", "Lantern", 1499, 6999),
        Article("Bougie parfumée", "Scented candle", 999, 3999),
        Article("Cadre à photo", "Photo frame", 999, 4499),
        Article("Vase", "Vase", 1499, 7999),
        Article("Horloge murale", "Wall clock", 2499, 9999),
        Article("Guirlande lumineuse", "String lights", 1299, 3999),
        Article("Miroir", "Mirror", 2999, 14999),
        Article("Coussin décoratif", "Throw pillow", 1999, 5999),
    ),
    "Chambre et salle de bain": (
        Article("Couette", "Duvet", 7999, 29999),
        Article("Taie d’oreiller", "Pillowcase", 1299, 3999),
        Article("Drap-housse", "Fitted sheet", 2999, 8999),
        Article("Serviette de bain", "Bath towel", 1499, 4499),
        Article("Rideau de douche", "Shower curtain", 1999, 5499),
        Article("Peignoir", "Bathrobe", 3999, 11999),
        Article("Savon à l’huile d’olive", "Olive oil soap", 499, 1299),
        Article("Tapis de bain", "Bath mat", 1999, 5999),
    ),
    "Papeterie": (
        Article("Carnet de notes", "Notebook", 499, 2499),
        Article("Stylo-plume", "Fountain pen", 1999, 9999),
        Article("Carte de vœux", "Greeting card", 299, 799),
        Article("Papier à lettres", "Writing paper", 699, 1999),
        Article("Agenda", "Planner", 1499, 4499),
        Article("Crayon à dessin", "Drawing pencil", 149, 599),
        Article("Papier d’emballage", "Gift wrap", 399, 1299),
        Article("Étiquettes à bagages", "Luggage tags", 599, 1999),
    ),
    "Jouets et jeux": (
        Article("Casse-tête", "Jigsaw puzzle", 1499, 4999),
        Article("Jeu de société", "Board game", 2499, 8999),
        Article("Poupée de chiffon", "Rag doll", 1999, 5999),
        Article("Blocs à empiler", "Stacking blocks", 1299, 4499),
        Article("Marionnette à doigt", "Finger puppet", 399, 1299),
        Article("Toupie", "Spinning top", 299, 1499),
        Article("Cerf-volant", "Kite", 1499, 5499),
        Article("Peluche", "Plush toy", 1299, 4999),
    ),
    "Jardin": (
        Article("Pot à fleurs", "Flower pot", 699, 4999),
        Article("Arrosoir", "Watering can", 1499, 4999),
        Article("Mangeoire à oiseaux", "Bird feeder", 1499, 5999),
        Article("Sécateur", "Pruning shears", 1999, 6999),
        Article("Gants de jardinage", "Gardening gloves", 799, 2999),
        Article("Jardinière", "Planter", 1999, 6999),
        Article("Carillon à vent", "Wind chime", 1299, 5499),
        Article("Chaise pliante", "Folding chair", 2999, 9999),
    ),
    "Plein air": (
        Article("Gourde isotherme", "Insulated bottle", 1999, 5499),
        Article("Lampe frontale", "Headlamp", 1999, 7999),
        Article("Couverture de pique-nique", "Picnic blanket", 2499, 6999),
        Article("Sac à dos", "Backpack", 3999, 17999),
        Article("Raquettes à neige", "Snowshoes", 8999, 24999),
        Article("Tuque en laine", "Wool beanie", 1499, 4499),
        Article("Hamac", "Hammock", 3999, 12999),
        Article("Boîte à lunch", "Lunch box", 1299, 3999),
    ),
    "Mode et accessoires": (
        Article("Écharpe", "Scarf", 1999, 7999),
        Article("Mitaines", "Mittens", 1499, 4999),
        Article("Chaussettes", "Socks", 799, 2499),
        Article("Fourre-tout", "Tote bag", 999, 3999),
        Article("Parapluie", "Umbrella", 1999, 6999),
        Article("Portefeuille", "Wallet", 2499, 8999),
        Article("Tablier", "Apron", 1999, 4999),
        Article("Pantoufles", "Slippers", 1999, 5999),
    ),
    "Bureau et électronique": (
        Article("Lampe de bureau", "Desk lamp", 2999, 12999),
        Article("Haut-parleur portatif", "Portable speaker", 3999, 19999),
        Article("Chargeur USB-C", "USB-C charger", 1999, 6999),
        Article("Étui à tablette", "Tablet sleeve", 1999, 5999),
        Article("Réveille-matin", "Alarm clock", 1999, 5999),
        Article("Clavier sans fil", "Wireless keyboard", 3999, 14999),
        Article("Support à téléphone", "Phone stand", 999, 3499),
        Article("Câble tressé", "Braided cable", 999, 2999),
    ),
}

FOOD_CATEGORIES = frozenset({"Épicerie fine", "Café et thé"})

FOOD_STYLES: tuple[Variant, ...] = (
    Variant("classique", "classic"),
    Variant("artisanal", "artisan"),
    Variant("biologique", "organic"),
    Variant("équitable", "fair-trade"),
    Variant("fabriqué au Québec", "made in Québec"),
    Variant("de luxe", "deluxe"),
    Variant("sélection du chef", "chef’s selection"),
    Variant("coup de cœur", "staff favourite"),
    Variant("édition d’hiver", "winter edition"),
    Variant("édition d’été", "summer edition"),
    Variant("à l’ancienne", "old-fashioned"),
    Variant("première récolte", "first harvest"),
    Variant("réserve de l’été indien", "Indian summer reserve"),
    Variant("recette de grand-mère", "grandmother’s recipe"),
)

FOOD_SHAPES: tuple[Variant, ...] = (
    Variant("échantillon", "sample size"),
    Variant("50 g", "50 g"),
    Variant("100 g", "100 g"),
    Variant("125 g", "125 g"),
    Variant("200 g", "200 g"),
    Variant("250 g", "250 g"),
    Variant("340 g", "340 g"),
    Variant("500 g", "500 g"),
    Variant("750 g", "750 g"),
    Variant("1 kg", "1 kg"),
    Variant("2 kg", "2 kg"),
    Variant("format familial", "family size"),
    Variant("lot de 2", "set of 2"),
    Variant("lot de 3", "set of 3"),
    Variant("lot de 6", "set of 6"),
    Variant("coffret-cadeau", "gift box"),
)

STYLES: tuple[Variant, ...] = (
    Variant("classique", "classic"),
    Variant("artisanal", "handmade"),
    Variant("champêtre", "country"),
    Variant("scandinave", "Scandinavian"),
    Variant("rétro", "retro"),
    Variant("à pois", "polka dot"),
    Variant("à rayures", "striped"),
    Variant("givré", "frosted"),
    Variant("édition d’hiver", "winter edition"),
    Variant("édition d’été", "summer edition"),
    Variant("fabriqué au Québec", "made in Québec"),
    Variant("de luxe", "deluxe"),
    Variant("tout simple", "plain"),
    Variant("coup de cœur", "staff favourite"),
)

SHAPES: tuple[Variant, ...] = (
    Variant("petit", "small"),
    Variant("moyen", "medium"),
    Variant("grand", "large"),
    Variant("très grand", "extra large"),
    Variant("lot de 2", "set of 2"),
    Variant("lot de 3", "set of 3"),
    Variant("lot de 6", "set of 6"),
    Variant("coffret-cadeau", "gift box"),
    Variant("bleu forêt", "forest blue"),
    Variant("rouge érable", "maple red"),
    Variant("vert sapin", "fir green"),
    Variant("gris galet", "pebble grey"),
    Variant("crème", "cream"),
    Variant("ambré", "amber"),
    Variant("naturel", "natural"),
    Variant("noir mat", "matte black"),
)
